/** What MODE SELECT can change, and what other parts of the logical unit need to know of the mode pages. */
export interface ModeState {
  /** Control page D_SENSE (SPC-4 7.5.8): descriptor format sense. */
  descriptorSense: boolean;
  /** Control page SWP: software write protect. */
  softwareWriteProtect: boolean;
  /** Control page QERR, 0, 1 or 3: what a CHECK CONDITION does to the other tasks. */
  queueErrorManagement: number;
  /** Control page TAS: tasks aborted by another nexus end with TASK ABORTED. */
  taskAbortedStatus: boolean;
  /** Informational exceptions page (SPC-4 7.5.12), changeable bytes 2 to 11 as last selected. */
  informationalExceptions: Buffer;
  /** Read-Write Error Recovery page LBPERE (SBC-3 6.5.8): threshold notification is wanted at all. */
  provisioningReports: boolean;
  /** Logical Block Provisioning page: the threshold is ENABLED. */
  thresholdEnabled: boolean;
}

export function defaultModes(): ModeState {
  return {
    descriptorSense: false,
    softwareWriteProtect: false,
    queueErrorManagement: 0,
    taskAbortedStatus: false,
    informationalExceptions: Buffer.alloc(10),
    provisioningReports: true,
    thresholdEnabled: true,
  };
}
