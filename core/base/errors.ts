// The one error catalogue (DESIGN, craft rule: three kinds of error, one list). A row says what happened and what to do;
// scsi/sense.ts maps rows to sense data, api/problem.ts to HTTP problem+json, cli/exit.ts to exit codes.

/** One kind of failure a person or a script can meet. */
export interface ErrorRow {
  /** HTTP status of the API answer. */
  readonly http: number;
  /** Exit status of the CLI and the daemon. */
  readonly exit: number;
  /** True when the same request may succeed later without a change. */
  readonly retriable: boolean;
  /** What to do, in one sentence. */
  readonly remedy: string;
}

/** Stable codes: clients and scripts match on them, so a code is never renamed. */
export const ERRORS = {
  'bad-request': { http: 400, exit: 2, retriable: false, remedy: 'Correct the value named in the message.' },
  unauthorized: {
    http: 401,
    exit: 3,
    retriable: false,
    remedy: 'Log in, or pass the token the daemon printed (--token or GEMEL_TOKEN).',
  },
  forbidden: { http: 403, exit: 3, retriable: false, remedy: 'Use an account or a token with what the message names.' },
  throttled: { http: 429, exit: 6, retriable: true, remedy: 'Wait as long as the message says.' },
  'last-portal': {
    http: 409,
    exit: 5,
    retriable: false,
    remedy: 'Add another portal first (gemel portal add).',
  },
  'last-admin': { http: 409, exit: 5, retriable: false, remedy: 'Make another user an admin first.' },
  misdirected: {
    http: 421,
    exit: 8,
    retriable: false,
    remedy: 'Use an address of the daemon, or make the name known (gemel security set --api-name).',
  },
  'audit-damaged': {
    http: 500,
    exit: 9,
    retriable: false,
    remedy: 'Keep the folder audit for whoever investigates; new entries are chained on.',
  },
  'audit-unwritable': {
    http: 507,
    exit: 6,
    retriable: true,
    remedy: 'Free space in the data folder: changes are refused until they can be put on record (deletions are not).',
  },
  'not-found': { http: 404, exit: 4, retriable: false, remedy: 'List the existing ones and check the name.' },
  'method-not-allowed': { http: 405, exit: 2, retriable: false, remedy: 'Use a method the Allow header names.' },
  'not-acceptable': { http: 406, exit: 2, retriable: false, remedy: 'Accept the media type the message names.' },
  'precondition-failed': {
    http: 412,
    exit: 5,
    retriable: false,
    remedy: 'Read it again, and repeat the change with the new ETag if it is still wanted.',
  },
  'too-large': { http: 413, exit: 2, retriable: false, remedy: 'Send less at once.' },
  'unsupported-media-type': {
    http: 415,
    exit: 2,
    retriable: false,
    remedy: 'Send JSON in UTF-8, not encoded, with Content-Type: application/json.',
  },
  'key-reused': {
    http: 422,
    exit: 5,
    retriable: false,
    remedy: 'Use a new Idempotency-Key for another request, or repeat the first one unchanged.',
  },
  'outcome-unknown': {
    http: 409,
    exit: 5,
    retriable: false,
    remedy: 'Look whether it was done; if it was not, repeat the request with a new Idempotency-Key.',
  },
  exists: { http: 409, exit: 5, retriable: false, remedy: 'Choose another name, or delete the existing one first.' },
  'in-use': { http: 409, exit: 5, retriable: false, remedy: 'Release what the message names, or repeat with --force.' },
  'has-snapshots': {
    http: 409,
    exit: 5,
    retriable: false,
    remedy: 'Delete its snapshots first, or all together with --with-snapshots.',
  },
  'has-volumes': {
    http: 409,
    exit: 5,
    retriable: false,
    remedy: 'Delete its volumes and snapshots first, and purge deleted ones.',
  },
  'device-in-use': {
    http: 409,
    exit: 5,
    retriable: false,
    remedy: 'Choose another device, or take it out of use first (umount, swapoff, vgchange -an, mdadm --stop).',
  },
  'limit-reached': {
    http: 429,
    exit: 6,
    retriable: true,
    remedy: 'Remove something that is no longer needed, or raise the limit.',
  },
  'no-space': { http: 507, exit: 6, retriable: true, remedy: 'Free space on the file system or grow it.' },
  'port-taken': {
    http: 409,
    exit: 7,
    retriable: false,
    remedy: 'Stop the other program, or choose another port with --portal, --api or, for a cluster, --address.',
  },
  'address-unusable': {
    http: 422,
    exit: 7,
    retriable: false,
    remedy: 'Choose an address of this machine and a port you may use with --portal, --api or --address.',
  },
  'folder-unusable': {
    http: 422,
    exit: 7,
    retriable: false,
    remedy: 'Choose a writable folder with --data, or correct its permissions.',
  },
  'folder-in-use': {
    http: 409,
    exit: 7,
    retriable: false,
    remedy: 'Stop the other gemeld, or choose another folder with --data.',
  },
  'catalog-damaged': {
    http: 500,
    exit: 7,
    retriable: false,
    remedy: 'Restore the folder catalog from a backup; the data of the disks is in pools and volumes, and untouched.',
  },
  'cluster-state': {
    http: 409,
    exit: 5,
    retriable: false,
    remedy: 'See gemel cluster status; a node is in one cluster: init begins one, join enters one, leave leaves it.',
  },
  'replica-state': {
    http: 409,
    exit: 5,
    retriable: true,
    remedy: 'See who serves it and who has everything, and why: gemel replication show NAME.',
  },
  'cluster-removed': {
    http: 409,
    exit: 7,
    retriable: false,
    remedy: 'Join it again (gemel cluster join), or use it alone as the message says.',
  },
  'cluster-unavailable': {
    http: 503,
    exit: 8,
    retriable: true,
    remedy:
      'Bring back the node, the witness or the link the message names; gemel cluster status shows who is missing.',
  },
  'etcd-unusable': {
    http: 422,
    exit: 8,
    retriable: false,
    remedy: 'Correct what the message says; docs/cluster.md, "An etcd that is there already", has what it takes.',
  },
  'daemon-unreachable': { http: 503, exit: 8, retriable: true, remedy: 'Start the daemon, or check --api.' },
  'untrusted-server': {
    http: 502,
    exit: 8,
    retriable: false,
    remedy: 'Check that --api and --token belong to the same daemon.',
  },
  'peer-unreachable': {
    http: 503,
    exit: 8,
    retriable: true,
    remedy: 'Check that the other machine runs and that the network between the nodes lets it through.',
  },
  'peer-untrusted': {
    http: 502,
    exit: 8,
    retriable: false,
    remedy: 'Check that both nodes belong to the same cluster, and the clocks of both.',
  },
  'io-error': { http: 500, exit: 9, retriable: true, remedy: 'Check the disk; the daemon log names the file.' },
  'newer-format': {
    http: 422,
    exit: 9,
    retriable: false,
    remedy: 'Use the version of Gemel that wrote it, or a later one.',
  },
  'hypervisor-unreachable': {
    http: 503,
    exit: 8,
    retriable: true,
    remedy: 'Check that the hypervisor runs, and the address and account it is reached with.',
  },
  'hypervisor-refused': {
    http: 502,
    exit: 13,
    retriable: false,
    remedy: 'Do what its message says, then repeat the request.',
  },
  'delivery-failed': {
    http: 502,
    exit: 8,
    retriable: true,
    remedy: 'Check the address, the account and the certificate of the receiver.',
  },
  unhealthy: { http: 503, exit: 12, retriable: true, remedy: 'Do what the findings say, then look again.' },
  'program-missing': {
    http: 500,
    exit: 11,
    retriable: false,
    remedy: 'Install what the message names, as root, and repeat the command.',
  },
  interrupted: { http: 500, exit: 130, retriable: true, remedy: 'Run the command again when you are ready.' },
  internal: { http: 500, exit: 10, retriable: false, remedy: 'This is a defect: report it with the daemon log.' },
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;

/** A failure of a request to the product itself (API, CLI, start-up), as opposed to a SCSI or protocol error. */
export class ServiceError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ServiceError';
    this.code = code;
  }

  get row(): ErrorRow {
    return ERRORS[this.code];
  }
}

/** A peer broke the protocol. The connection that did it is rejected or closed; nobody else notices. */
export class ProtocolError extends Error {
  /** Reject reason of RFC 7143 §11.17.1, when a Reject PDU can still be sent. */
  readonly reason: number;

  constructor(message: string, reason = 0x04) {
    super(message);
    this.name = 'ProtocolError';
    this.reason = reason;
  }
}

/** The text of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
