// The login phase of one connection: PDUs to the machine, its responses to the peer, and the session at the end.
import { load32, store32 } from '../base/bytes-at.ts';
import { ProtocolError } from '../base/errors.ts';
import type { Connection } from './connection.ts';
import { LoginMachine } from './login/login.ts';
import type { LoginFacts, LoginResponse, TargetDecision } from './login/login.ts';
import { Session } from './session.ts';
import { BHS_LENGTH, LoginStatus, Opcode } from './wire/constants.ts';
import { serialNext } from './serial.ts';

export class LoginPhase {
  readonly #connection: Connection;
  readonly #machine: LoginMachine;
  #statSN = 0;
  #begun = false;
  /** The session whose connection this login has ended to go on with it. */
  #surrendered: Session | undefined;

  constructor(connection: Connection) {
    this.#connection = connection;
    const { context } = connection;
    this.#machine = new LoginMachine({
      target: (name, initiator, isid) => this.#decide(name, initiator, isid),
      credentials: (initiator, target) => context.policy.credentials(initiator, target),
      session: (tsih) => this.#running(tsih)?.session?.running,
      random: (bytes) => context.world.random.bytes(bytes),
    });
  }

  /** The PDU at `at`; anything but a login request has no place here. Throws ProtocolError. */
  pdu(bytes: Buffer, at: number, dataAt: number, dataLength: number): void {
    if (((bytes[at] as number) & 0x3f) !== Opcode.loginRequest) throw new ProtocolError('no login request');
    const connection = this.#connection;
    if (!this.#begun) this.#statSN = load32(bytes, at + 28);
    this.#begun = true;
    const response = this.#machine.step(bytes, at, bytes.subarray(dataAt, dataAt + dataLength));
    if (response.status !== LoginStatus.success) {
      this.#refuse(bytes, at, response);
    } else if (response.done) {
      this.#finishWhenEnded(bytes, at, response);
    } else {
      this.#send(bytes, at, response, this.#machine.tsih);
    }
    if (response.status !== LoginStatus.success) connection.end();
  }

  #refuse(bytes: Buffer, at: number, response: LoginResponse): void {
    const fields = {
      initiator: this.#machine.initiatorName,
      status: `0x${response.status.toString(16).padStart(4, '0')}`,
    };
    const moved = response.status >> 8 === 1;
    if (moved) this.#connection.log.debug(fields, 'login redirected');
    else this.#connection.log.warn(fields, explain(response.status));
    this.#send(bytes, at, response, 0);
  }

  /**
   * What this login puts an end to, ends before it is answered (RFC 7143 §6.3.4, §6.3.5); another node that carries out commands
   * of it may take a moment.
   */
  #finishWhenEnded(bytes: Buffer, at: number, response: LoginResponse): void {
    const connection = this.#connection;
    const ending = this.#endOld(this.#machine.facts);
    if (ending === undefined) {
      this.#finish(bytes, at, response);
      return;
    }
    const request = Buffer.from(bytes.subarray(at, at + BHS_LENGTH));
    connection.hold();
    void ending.then(() => {
      if (connection.ended) {
        const left = this.#surrendered?.nexus;
        left?.device.detach(left);
        return;
      }
      this.#finish(request, 0, response);
      connection.planFlush();
      connection.release();
    });
  }

  /** Ends the connection or session that is reinstated; resolves when other nodes have done so. */
  #endOld(facts: LoginFacts): Promise<void> | undefined {
    const { context, portalGroup } = this.#connection;
    if (facts.tsih !== 0) {
      const old = this.#running(facts.tsih);
      this.#surrendered = old?.surrender('connection reinstatement');
      return old?.commands?.ending;
    }
    const initiator = { name: facts.initiatorName, isid: facts.isid };
    const device = facts.targetName === undefined ? undefined : context.policy.device(facts.targetName);
    const port = device?.ports.find((each) => each.portalGroup === portalGroup);
    context.existing(initiator, port, portalGroup)?.terminate('session reinstatement');
    return port === undefined ? undefined : device?.ending(initiator, port);
  }

  #finish(bytes: Buffer, at: number, response: LoginResponse): void {
    const connection = this.#connection;
    const { facts } = this.#machine;
    const again = facts.tsih !== 0;
    const session = again ? this.#takeOver(facts) : this.#openSession(facts, load32(bytes, at + 24));
    if (session === undefined) {
      const status = again ? LoginStatus.sessionDoesNotExist : LoginStatus.outOfResources;
      this.#send(bytes, at, { ...response, status, flags: 0, data: Buffer.alloc(0) }, 0);
      connection.end();
      return;
    }
    this.#send(bytes, at, response, session.facts.tsih, session);
    connection.enterFullFeature(session, this.#statSN);
    const text = again ? 'connection reinstated' : 'session begins';
    connection.log.info({ target: session.facts.targetName ?? 'discovery' }, text);
  }

  /** The connection of the session with this TSIH, if it is one of our portal group. */
  #running(tsih: number): Connection | undefined {
    const { context, portalGroup } = this.#connection;
    return [...context.connections].find(
      (each) => each.session?.facts.tsih === tsih && each.portalGroup === portalGroup,
    );
  }

  /**
   * Connection reinstatement (RFC 7143 §6.3.4): the old connection is logged out and its tasks are over, without a word
   * to the initiator (ErrorRecoveryLevel 0); the session goes on with us. undefined: it has ended during the login.
   */
  #takeOver(facts: LoginFacts): Session | undefined {
    const session = this.#surrendered;
    if (session !== undefined) session.parameters = facts.parameters;
    return session;
  }

  /** The session of a finished login, which has ended the one it reinstates. undefined: no room. */
  #openSession(facts: LoginFacts, cmdSN: number): Session | undefined {
    const connection = this.#connection;
    const { context } = connection;
    const initiator = { name: facts.initiatorName, isid: facts.isid };
    const device = facts.targetName === undefined ? undefined : context.policy.device(facts.targetName);
    const port = device?.ports.find((each) => each.portalGroup === connection.portalGroup);
    if (facts.targetName !== undefined && (device === undefined || port === undefined)) return undefined;
    // One that began while we waited for the end of the one before.
    context.existing(initiator, port, connection.portalGroup)?.terminate('session reinstatement');
    if (!context.mayEnter(connection, facts.initiatorName)) return undefined;
    const visitor = { initiator, local: connection.local };
    const nexus = device !== undefined && port !== undefined ? device.attach(visitor, port) : undefined;
    if (nexus !== undefined) nexus.devices = () => context.policy.devices();
    return new Session(
      {
        initiatorName: facts.initiatorName,
        initiatorAlias: facts.initiatorAlias,
        isid: facts.isid,
        cid: facts.cid,
        tsih: context.nextTsih(),
        targetName: facts.targetName,
        parameters: facts.parameters,
        nexus,
        cmdSN,
      },
      context.memory,
    );
  }

  #decide(name: string, initiator: string, isid: string): TargetDecision {
    const { context, local, portalGroup } = this.#connection;
    const device = context.policy.device(name);
    if (device === undefined) return { kind: 'refuse', status: LoginStatus.notFound };
    if (!device.admits({ initiator: { name: initiator, isid }, local })) {
      return { kind: 'refuse', status: LoginStatus.forbidden };
    }
    const moved = context.policy.redirect(name, initiator);
    if (moved !== undefined) return { kind: 'moved', portal: moved.portal, permanent: moved.permanent };
    if (!device.ports.some((each) => each.portalGroup === portalGroup)) {
      return { kind: 'refuse', status: LoginStatus.notFound };
    }
    return { kind: 'serve', portalGroup };
  }

  /** RFC 7143 §11.13. `session`: the one that has begun, or goes on. */
  #send(bytes: Buffer, at: number, response: LoginResponse, tsih: number, session?: Session): void {
    const { data } = response;
    const send = this.#connection.send;
    const padded = (data.length + 3) & ~3;
    const to = send.reserve(BHS_LENGTH + padded);
    const out = send.slab;
    out.fill(0, to, to + BHS_LENGTH + padded);
    out[to] = Opcode.loginResponse;
    out[to + 1] = response.flags;
    store32(out, to + 4, data.length);
    bytes.copy(out, to + 8, at + 8, at + 14);
    out.writeUInt16BE(tsih, to + 14);
    bytes.copy(out, to + 16, at + 16, at + 20);
    store32(out, to + 24, this.#statSN);
    const cmdSN = load32(bytes, at + 24);
    const goesOn = session !== undefined && this.#machine.tsih !== 0;
    store32(out, to + 28, goesOn ? session.expCmdSN : cmdSN);
    store32(out, to + 32, goesOn ? session.maxCmdSN : cmdSN);
    out[to + 36] = response.status >> 8;
    out[to + 37] = response.status & 0xff;
    data.copy(out, to + BHS_LENGTH);
    // RFC 7143 §11.13.4: StatSN is meaningful with status class 0 only.
    if (response.status === LoginStatus.success) this.#statSN = serialNext(this.#statSN);
  }
}

/** What a refused login means, and what to do about it. */
function explain(status: LoginStatus): string {
  switch (status) {
    case LoginStatus.authenticationFailure:
      return 'login refused: wrong or missing CHAP credentials; compare user and secret on both sides';
    case LoginStatus.forbidden:
      return 'login refused: no disk is mapped to this initiator; map one with `gemel map`';
    case LoginStatus.notFound:
      return 'login refused: there is no such target at this portal; check the target name';
    default:
      return 'login refused: the initiator sent something we cannot accept';
  }
}
