import { Histogram } from '../base/histogram.ts';
import { COMMAND_WINDOW, COMMAND_WINDOW_LOW } from '../base/limits.ts';
import type { Nexus } from '../scsi/device.ts';
import type { DataMemory } from './data-memory.ts';
import type { NegotiatedParameters } from './login/keys.ts';
import type { RunningSession } from './login/login.ts';
import { serialAfter } from './serial.ts';

/** What a session has done; plain numbers, incremented on the fast path. */
export class SessionCounters {
  commands = 0;
  readBytes = 0;
  writtenBytes = 0;
  receivedBytes = 0;
  sentBytes = 0;
  digestErrors = 0;
  rejects = 0;
  /** Microseconds from the arrival of a READ or WRITE to its answer, of all logical units, wherever they are carried out. */
  readonly readLatency = new Histogram();
  readonly writeLatency = new Histogram();
}

export interface SessionFacts {
  readonly initiatorName: string;
  readonly initiatorAlias: string | undefined;
  readonly isid: string;
  /** Connection identifier of its one connection. */
  readonly cid: number;
  readonly tsih: number;
  readonly targetName: string | undefined;
  readonly parameters: NegotiatedParameters;
  /** Undefined in a discovery session. */
  readonly nexus: Nexus | undefined;
  /** CmdSN of the login, the first command number expected in full feature phase. */
  readonly cmdSN: number;
}

/** An iSCSI session with its one connection (MaxConnections=1): parameters, command window, counters. */
export class Session {
  readonly facts: SessionFacts;
  parameters: NegotiatedParameters;
  readonly nexus: Nexus | undefined;
  readonly counters = new SessionCounters();
  expCmdSN: number;
  /** Tasks that were accepted and not yet answered. */
  active = 0;
  readonly #memory: DataMemory;
  #maxCmdSN: number;

  constructor(facts: SessionFacts, memory: DataMemory) {
    this.facts = facts;
    this.parameters = facts.parameters;
    this.nexus = facts.nexus;
    this.expCmdSN = facts.cmdSN;
    this.#memory = memory;
    this.#maxCmdSN = (this.expCmdSN + COMMAND_WINDOW - 1) >>> 0;
  }

  /** What a login that wants to reinstate our connection has to match, and what stays settled. */
  get running(): RunningSession {
    const { initiatorName, isid, cid, targetName } = this.facts;
    return { initiatorName, isid, cid, targetName, parameters: this.parameters };
  }

  /**
   * MaxCmdSN to announce (RFC 7143 §4.2.2.1). The window is what is left beside the running tasks, small while memory is
   * short; MaxCmdSN never moves backwards.
   */
  get maxCmdSN(): number {
    const window = Math.max(0, (this.#memory.tight ? COMMAND_WINDOW_LOW : COMMAND_WINDOW) - this.active);
    const wanted = (this.expCmdSN + window - 1) >>> 0;
    if (serialAfter(wanted, this.#maxCmdSN)) this.#maxCmdSN = wanted;
    return this.#maxCmdSN;
  }

  /** True when the initiator has used up the window it was told of: the next number is not to be accepted. */
  get full(): boolean {
    return serialAfter(this.expCmdSN, this.#maxCmdSN);
  }

  /** True when a command with this number may be accepted now or soon; others are silently ignored. */
  inWindow(cmdSN: number): boolean {
    return !serialAfter(this.expCmdSN, cmdSN) && !serialAfter(cmdSN, this.#maxCmdSN);
  }
}
