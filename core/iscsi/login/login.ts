// The login phase as a machine without I/O: one request in, one response out (RFC 7143 §6.3, §11.12, §11.13).
import { MAX_LOGIN_ROUNDS, MAX_LOGIN_TEXT } from '../../base/limits.ts';
import { ProtocolError } from '../../base/errors.ts';
import { load16, load32 } from '../../base/bytes-at.ts';
import { LoginStatus, Stage } from '../wire/constants.ts';
import { encodeText, parseText } from '../wire/text.ts';
import { Authentication } from './authentication.ts';
import type { Credentials } from '../context.ts';
import { DEFAULT_PARAMETERS, OUR_DECLARATIONS, negotiate } from './keys.ts';
import type { NegotiatedParameters } from './keys.ts';

/** What the machine asks of the outside. */
export interface LoginEnvironment {
  /** May this initiator log in to this target? Called once, when both names are known. */
  target(name: string, initiator: string, isid: string): TargetDecision;
  credentials(initiator: string, target: string | undefined): Credentials;
  /** The session with this TSIH, if this connection came in by its portal group. */
  session(tsih: number): RunningSession | undefined;
  readonly random: (bytes: number) => Buffer;
}

/** A session whose connection another login may reinstate (RFC 7143 §6.3.4). */
export interface RunningSession {
  readonly initiatorName: string;
  readonly isid: string;
  /** Connection identifier of its one connection. */
  readonly cid: number;
  readonly targetName: string | undefined;
  /** What the session has settled. */
  readonly parameters: NegotiatedParameters;
}

export type TargetDecision =
  | { readonly kind: 'serve'; readonly portalGroup: number }
  | { readonly kind: 'refuse'; readonly status: LoginStatus }
  | { readonly kind: 'moved'; readonly portal: string; readonly permanent: boolean };

/** The response to send. The header's sequence numbers, ISID and ITT are the sender's business. */
export interface LoginResponse {
  readonly status: LoginStatus;
  /** Second header byte: T, C, CSG, NSG. */
  readonly flags: number;
  readonly data: Buffer;
  /** The login is complete with this response. */
  readonly done: boolean;
}

/** Who logged in. */
export interface LoginFacts {
  readonly initiatorName: string;
  readonly initiatorAlias: string | undefined;
  readonly isid: string;
  /** Connection identifier. */
  readonly cid: number;
  /** TSIH of the session whose connection is reinstated; 0: a new session. */
  readonly tsih: number;
  /** Undefined in a discovery session. */
  readonly targetName: string | undefined;
  readonly discovery: boolean;
  readonly parameters: NegotiatedParameters;
}

const TRANSIT = 0x80;
const CONTINUES = 0x40;
/** iSCSI names (RFC 7143 §4.2.7): at most 223 bytes, of one of three kinds. */
const NAME = /^(iqn\.\d{4}-\d{2}\.[a-z0-9][a-z0-9.-]*(:.*)?|eui\.[0-9a-f]{16}|naa\.([0-9a-f]{16}|[0-9a-f]{32}))$/;
const MAX_NAME = 223;
/** Bytes of a text value that is not a name (RFC 7143 §6.1). */
const MAX_ALIAS = 255;
/** MaxRecvDataSegmentLength of the initiator until the login is over (RFC 7143 §13.12). */
const MAX_RESPONSE = 8192;

/** The login ends with this status. */
class Refused extends Error {
  readonly status: LoginStatus;
  readonly pairs: readonly (readonly [string, string])[];
  constructor(status: LoginStatus, pairs: readonly (readonly [string, string])[] = []) {
    super(`login status ${status.toString(16)}`);
    this.status = status;
    this.pairs = pairs;
  }
}

export class LoginMachine {
  readonly #environment: LoginEnvironment;
  #stage: number = -1;
  #rounds = 0;
  #bytes = 0;
  /** Text of a request that goes on in the next PDU. */
  #text: Buffer = Buffer.alloc(0);
  #isid = '';
  #cid = 0;
  #tsih = 0;
  #identified = false;
  #initiatorName = '';
  #initiatorAlias: string | undefined;
  #targetName: string | undefined;
  #discovery = false;
  #parameters = DEFAULT_PARAMETERS;
  #authentication: Authentication | undefined;
  #declared = false;
  /** Keys the initiator has used; a second offer is an error (RFC 7143 §6.2). */
  readonly #seen = new Set<string>();

  constructor(environment: LoginEnvironment) {
    this.#environment = environment;
  }

  /** Name of the initiator as far as it is known, for the log. */
  get initiatorName(): string {
    return this.#initiatorName;
  }

  /** TSIH of the requests: that of the session whose connection is to be reinstated, or 0. */
  get tsih(): number {
    return this.#tsih;
  }

  /** Only after the response that is `done`. */
  get facts(): LoginFacts {
    return {
      initiatorName: this.#initiatorName,
      initiatorAlias: this.#initiatorAlias,
      isid: this.#isid,
      cid: this.#cid,
      tsih: this.#tsih,
      targetName: this.#targetName,
      discovery: this.#discovery,
      parameters: this.#parameters,
    };
  }

  /** Handles the Login Request at `at`. After a status other than success the connection has to be closed. */
  step(bytes: Buffer, at: number, data: Buffer): LoginResponse {
    try {
      return this.#step(bytes, at, data);
    } catch (error) {
      if (error instanceof Refused) return refusal(error.status, encodeText(error.pairs));
      if (error instanceof ProtocolError) return refusal(LoginStatus.initiatorError, Buffer.alloc(0));
      throw error;
    }
  }

  #step(bytes: Buffer, at: number, data: Buffer): LoginResponse {
    const flags = bytes[at + 1] as number;
    const current = (flags >> 2) & 3;
    const next = flags & 3;
    const transit = (flags & TRANSIT) !== 0;
    this.#checkRequest(bytes, at, current, data.length);
    this.#text = Buffer.concat([this.#text, data]);
    if ((flags & CONTINUES) !== 0) {
      // RFC 7143 §11.12.2: the text goes on in the next PDU; T must not be set with C.
      if (transit) throw new Refused(LoginStatus.initiatorError);
      return { status: LoginStatus.success, flags: current << 2, data: Buffer.alloc(0), done: false };
    }
    const pairs = parseText(this.#text);
    this.#text = Buffer.alloc(0);
    for (const key of pairs.keys()) this.#once(key);
    const answers: [string, string][] = [];
    if (!this.#identified) this.#identify(pairs, answers);
    const complete = current === Stage.security ? this.#secure(pairs, answers) : this.#operate(pairs, answers);
    const moves = transit && complete;
    if (moves) {
      if (next !== Stage.operational && next !== Stage.fullFeature) throw new Refused(LoginStatus.initiatorError);
      if (next <= current) throw new Refused(LoginStatus.initiatorError);
      this.#stage = next;
    }
    const answerFlags = (moves ? TRANSIT | next : 0) | (current << 2);
    const done = moves && next === Stage.fullFeature;
    const text = encodeText(answers);
    // Only keys that nobody has heard of make an answer that long.
    if (text.length > MAX_RESPONSE) throw new Refused(LoginStatus.initiatorError);
    return { status: LoginStatus.success, flags: answerFlags, data: text, done };
  }

  #checkRequest(bytes: Buffer, at: number, current: number, length: number): void {
    this.#rounds++;
    this.#bytes += length;
    if (this.#rounds > MAX_LOGIN_ROUNDS || this.#bytes > MAX_LOGIN_TEXT) throw new Refused(LoginStatus.initiatorError);
    if (this.#stage === -1) {
      // RFC 7143 §11.12.4: the only version is 0.
      if ((bytes[at + 3] as number) > 0) throw new Refused(LoginStatus.unsupportedVersion);
      this.#isid = bytes.toString('hex', at + 8, at + 14);
      this.#cid = load16(bytes, at + 20);
      this.#tsih = load16(bytes, at + 14);
      if (this.#tsih !== 0 && this.#environment.session(this.#tsih) === undefined) {
        throw new Refused(LoginStatus.sessionDoesNotExist);
      }
      if (current !== Stage.security && current !== Stage.operational) throw new Refused(LoginStatus.initiatorError);
      this.#stage = current;
    }
    const same = bytes.toString('hex', at + 8, at + 14) === this.#isid && load16(bytes, at + 20) === this.#cid;
    if (current !== this.#stage || !same) {
      throw new Refused(LoginStatus.initiatorError);
    }
  }

  #once(key: string): void {
    if (key.startsWith('CHAP_')) return; // several rounds; Authentication checks their order
    if (this.#seen.has(key)) throw new Refused(LoginStatus.initiatorError);
    this.#seen.add(key);
  }

  /** Names and session type: in the first request (RFC 7143 §6.3.1). */
  #identify(pairs: Map<string, string>, answers: [string, string][]): void {
    const initiator = pairs.get('InitiatorName')?.toLowerCase();
    if (initiator === undefined) throw new Refused(LoginStatus.missingParameter);
    if (Buffer.byteLength(initiator) > MAX_NAME || !NAME.test(initiator)) throw new Refused(LoginStatus.initiatorError);
    this.#initiatorName = initiator;
    const type = pairs.get('SessionType') ?? 'Normal';
    if (type !== 'Normal' && type !== 'Discovery') throw new Refused(LoginStatus.sessionTypeNotSupported);
    this.#discovery = type === 'Discovery';
    const target = pairs.get('TargetName')?.toLowerCase();
    if (!this.#discovery) {
      if (target === undefined) throw new Refused(LoginStatus.missingParameter);
      this.#targetName = target;
      const decision = this.#environment.target(target, initiator, this.#isid);
      if (decision.kind === 'refuse') throw new Refused(decision.status);
      if (decision.kind === 'moved') {
        const status = decision.permanent ? LoginStatus.movedPermanently : LoginStatus.movedTemporarily;
        throw new Refused(status, [['TargetAddress', decision.portal]]);
      }
      answers.push(['TargetPortalGroupTag', String(decision.portalGroup)]);
    }
    if (this.#tsih !== 0) this.#rejoin();
    const credentials = this.#environment.credentials(initiator, this.#targetName);
    this.#authentication = new Authentication(credentials, this.#environment.random);
    this.#identified = true;
  }

  /**
   * RFC 7143 §6.3.4: a login with the TSIH and CID of a running session takes the place of its connection. Another CID
   * would be a second connection, and MaxConnections is 1. What the session has settled stays; digests and
   * MaxRecvDataSegmentLength belong to the connection and begin anew.
   */
  #rejoin(): void {
    const session = this.#environment.session(this.#tsih);
    const same =
      session?.initiatorName === this.#initiatorName &&
      session.isid === this.#isid &&
      session.targetName === this.#targetName;
    if (!same) throw new Refused(LoginStatus.sessionDoesNotExist);
    if (session.cid !== this.#cid) throw new Refused(LoginStatus.tooManyConnections);
    const { headerDigest, dataDigest, maxRecvInitiator } = DEFAULT_PARAMETERS;
    this.#parameters = { ...session.parameters, headerDigest, dataDigest, maxRecvInitiator };
  }

  /** Security stage. True when the initiator may leave it. */
  #secure(pairs: Map<string, string>, answers: [string, string][]): boolean {
    const authentication = this.#authentication;
    if (authentication === undefined) throw new Refused(LoginStatus.initiatorError);
    const outcome = authentication.step(pairs);
    if (outcome.kind === 'failed') throw new Refused(LoginStatus.authenticationFailure);
    answers.push(...outcome.answers);
    this.#declarations(pairs);
    // Operational keys may come in this stage too; digests and lengths are settled all the same.
    this.#negotiateAll(pairs, answers, true);
    return outcome.kind === 'complete';
  }

  #operate(pairs: Map<string, string>, answers: [string, string][]): boolean {
    // An initiator that skips the security stage has proved nothing (RFC 7143 §6.3.2).
    if (this.#authentication?.satisfied !== true) throw new Refused(LoginStatus.authenticationFailure);
    this.#declarations(pairs);
    this.#negotiateAll(pairs, answers, false);
    if (!this.#declared) {
      // A key that has just been rejected must not appear twice: our value is the default then.
      const answered = new Set(answers.map(([key]) => key));
      answers.push(
        ...OUR_DECLARATIONS.filter(([key]) => !answered.has(key)).map(
          ([key, value]) => [key, value] as [string, string],
        ),
      );
      this.#declared = true;
    }
    return true;
  }

  #declarations(pairs: Map<string, string>): void {
    this.#initiatorAlias = pairs.get('InitiatorAlias') ?? this.#initiatorAlias;
    if (Buffer.byteLength(this.#initiatorAlias ?? '') > MAX_ALIAS) throw new Refused(LoginStatus.initiatorError);
  }

  #negotiateAll(pairs: Map<string, string>, answers: [string, string][], security: boolean): void {
    for (const [key, value] of pairs) {
      if (IDENTITY.has(key) || (security && (key === 'AuthMethod' || key.startsWith('CHAP_')))) continue;
      // RFC 7143 §13: AuthMethod belongs to the security stage, SendTargets to the full feature phase.
      if (key === 'AuthMethod' || key === 'SendTargets') throw new Refused(LoginStatus.initiatorError);
      const outcome = negotiate(key, value, this.#parameters, this.#discovery);
      // Leading only (RFC 7143 §13): in a running session an offer that would change something is rejected.
      if (this.#tsih !== 0 && changesSession(this.#parameters, outcome.parameters)) {
        answers.push([key, 'Reject']);
        continue;
      }
      this.#parameters = outcome.parameters;
      if (outcome.answer !== undefined) answers.push([key, outcome.answer]);
    }
  }
}

/** Keys that declare who the initiator is; they get no answer. */
const IDENTITY: ReadonlySet<string> = new Set(['InitiatorName', 'InitiatorAlias', 'TargetName', 'SessionType']);

/** True when something changes that is settled for a whole session rather than for one connection. */
function changesSession(before: NegotiatedParameters, after: NegotiatedParameters): boolean {
  const { headerDigest, dataDigest, maxRecvInitiator } = before;
  const settled = { ...after, headerDigest, dataDigest, maxRecvInitiator };
  return (Object.keys(before) as (keyof NegotiatedParameters)[]).some((key) => settled[key] !== before[key]);
}

function refusal(status: LoginStatus, data: Buffer): LoginResponse {
  return { status, flags: 0, data, done: false };
}

/** CmdSN of the Login Request at `at`. */
export const loginCmdSN = (bytes: Buffer, at: number): number => load32(bytes, at + 24);
