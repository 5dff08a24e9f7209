// What the control plane knows of the iSCSI server. It may not import the transport; the daemon passes the server in.
import type { Histogram } from '../base/histogram.ts';

/** A session as people and metrics see it. */
export interface SessionView {
  readonly tsih: number;
  readonly initiator: string;
  readonly alias: string | undefined;
  /** Twelve hexadecimal digits. */
  readonly isid: string;
  /** Undefined: a discovery session. */
  readonly target: string | undefined;
  readonly peer: string;
  readonly portal: string;
  readonly headerDigest: boolean;
  readonly dataDigest: boolean;
  readonly activeTasks: number;
  readonly commands: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
  readonly digestErrors: number;
  readonly rejects: number;
}

/** A portal that listens. */
export interface PortalView {
  readonly address: string;
  readonly port: number;
  readonly group: number;
  /** HOST:PORT told to initiators instead of the listening address. */
  readonly advertised: string | undefined;
}

export interface SessionSource {
  readonly portals: readonly PortalView[];
  sessions(): SessionView[];
  /** Of the same sessions, by TSIH: microseconds from the arrival of a READ or WRITE to its answer. */
  latencies(): ReadonlyMap<number, { readonly reads: Histogram; readonly writes: Histogram }>;
  /** Ends all sessions of this target. */
  closeTarget(iqn: string): void;
}

/** The server as the one who keeps its portals needs it. */
export interface PortalServer extends SessionSource {
  /** Listens at one more address. Rejects with ServiceError port-taken or address-unusable. */
  openPortal(portal: { host: string; port: number; group: number; advertised?: string }): Promise<PortalView>;
  /** Stops listening there; sessions on it are asked to log out, and end after a while. */
  closePortal(portal: PortalView): void;
  /** Sessions that came in there. */
  sessionsAt(portal: PortalView): SessionView[];
}
