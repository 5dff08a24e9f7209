// PERSISTENT RESERVE OUT (SPC-4 6.16): the service actions, each a short function over the state in Reservations.
import { MAX_PARAMETER_LIST, MAX_REGISTRATIONS } from '../../base/limits.ts';
import { OK_WITHOUT_MEDIUM, Reserved, all } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import { endTasks } from '../end-tasks.ts';
import { initiatorPortName, nexusKey } from '../lun-nexus.ts';
import { SENSE, ScsiError, badCdb, badParameter } from '../sense.ts';
import { GOOD, Status } from '../task.ts';
import type { ScsiTask, TaskResult } from '../task.ts';
import { ReservationType, isAllRegistrants, isRegistrants } from './reservations.ts';
import type { Reservations } from './reservations.ts';
import type { Registration } from './store.ts';
import { decodeTransportId } from './transport-id.ts';

const CONFLICT: TaskResult = { status: Status.reservationConflict };
const NO_KEY = '0000000000000000';
const TYPES: ReadonlySet<number> = new Set(Object.values(ReservationType));
const BASIC_LENGTH = 24;
/** SCOPE: the logical unit; there is no other. */
const LU_SCOPE = 0;
/** The service actions whose parameter lists differ from the others'. */
const ServiceAction = { register: 0, registerAndMove: 7 } as const;

/** Bits of byte 20 of the parameter list (SPC-4 6.16.3). */
const SPEC_I_PT = 0x08;
const ALL_TG_PT = 0x04;
const APTPL = 0x01;

/** What all service actions look at. */
interface Request {
  readonly task: ScsiTask;
  readonly state: Reservations;
  /** Key of the I_T nexus the command came by. */
  readonly me: string;
  /** RESERVATION KEY and SERVICE ACTION RESERVATION KEY, 16 hexadecimal digits. */
  readonly key: string;
  readonly actionKey: string;
  /** SCOPE and TYPE of the CDB. */
  readonly scope: number;
  readonly type: number;
}

type Action = (request: Request) => TaskResult;

/** The command came by a registered nexus and names its key. */
function authorized({ state, me, key }: Request): boolean {
  return state.registration(me)?.key === key;
}

/** Refuses a scope or type that no reservation can have: 05/24/00. */
function checkScopeAndType({ scope, type }: Request): void {
  if (scope !== LU_SCOPE) throw badCdb(2, 7);
  if (!TYPES.has(type)) throw badCdb(2, 3);
}

/** SPC-4 5.13.7, tables 67 to 69: REGISTER and REGISTER AND IGNORE EXISTING KEY. */
function register(request: Request, ignoreKey: boolean): TaskResult {
  const { task, state, me, key, actionKey } = request;
  const flags = task.data[20] ?? 0;
  // ALL_TG_PT: as if the request had come through each target port.
  const targets = new Set([task.nexus.target.relativeId]);
  if ((flags & ALL_TG_PT) !== 0) for (const port of task.nexus.owner.device.ports) targets.add(port.relativeId);
  const mine = registrationsOf(initiatorPortName(task.nexus.initiator), targets, actionKey);
  if (!ignoreKey && mine.some((each) => (state.registration(each.nexus)?.key ?? NO_KEY) !== key)) return CONFLICT;
  const known = mine.map((each) => each.nexus).filter((nexus) => state.registration(nexus) !== undefined);
  if ((flags & SPEC_I_PT) !== 0 && known.length > 0) throw badParameter(20, 3);
  if (actionKey === NO_KEY) {
    if (known.length === 0) return GOOD;
    unregister(state, known, me);
  } else {
    const others = (flags & SPEC_I_PT) === 0 ? [] : specifiedPorts(request, targets);
    enter(state, [...mine, ...others]);
  }
  state.setPersistent((flags & APTPL) !== 0);
  state.nextGeneration();
  return GOOD;
}

/** Registrations of one initiator port through these target ports. */
function registrationsOf(initiatorPort: string, targets: Iterable<number>, key: string): Registration[] {
  return [...targets].map((relativeTargetPort) => {
    return { nexus: nexusKey(initiatorPort, relativeTargetPort), initiatorPort, relativeTargetPort, key };
  });
}

/** Registers all of them, or, when there is no room, none: 05/55/04. */
function enter(state: Reservations, entries: readonly Registration[]): void {
  const added = new Set(entries.map((each) => each.nexus).filter((nexus) => state.registration(nexus) === undefined));
  if (state.registrations.length + added.size > MAX_REGISTRATIONS) {
    throw new ScsiError(SENSE.insufficientRegistrationResources);
  }
  for (const each of entries) state.register(each);
}

/** SPEC_I_PT (SPC-4 6.16.3): initiator ports to register besides the one that asks; none may be registered. */
function specifiedPorts({ task, state, actionKey }: Request, targets: ReadonlySet<number>): Registration[] {
  const list = task.data;
  if (list.length < BASIC_LENGTH + 4) throw new ScsiError(SENSE.parameterListLength);
  const end = BASIC_LENGTH + 4 + list.readUInt32BE(BASIC_LENGTH);
  if (end !== list.length) throw new ScsiError(SENSE.parameterListLength);
  const found: Registration[] = [];
  for (let at = BASIC_LENGTH + 4; at < end;) {
    const { port, length } = decodeTransportId(list, at);
    const entries = registrationsOf(port, targets, actionKey);
    if (entries.some((each) => state.registration(each.nexus) !== undefined)) throw badParameter(at);
    found.push(...entries);
    at += length;
  }
  return found;
}

/** Removes registrations; a reservation they held ends with them (SPC-4 5.13.11.2.3, table 71). */
function unregister(state: Reservations, nexuses: readonly string[], me: string): void {
  const held = state.reservation;
  for (const nexus of nexuses) state.unregister(nexus);
  if (held === undefined) return;
  const ends = isAllRegistrants(held.type) ? state.registrations.length === 0 : nexuses.includes(held.holder);
  if (!ends) return;
  state.setReservation(undefined);
  if (isRegistrants(held.type)) state.tellRegistered(SENSE.reservationsReleased, me);
}

/** SPC-4 5.13.9. */
function reserve(request: Request): TaskResult {
  const { state, me, type } = request;
  if (!authorized(request)) return CONFLICT;
  checkScopeAndType(request);
  const held = state.reservation;
  if (held !== undefined) return state.holds(me) && held.type === type ? GOOD : CONFLICT;
  state.setReservation({ type, holder: me });
  return GOOD;
}

/** SPC-4 5.13.11.2.2. */
function release(request: Request): TaskResult {
  const { state, me, scope, type } = request;
  if (!authorized(request)) return CONFLICT;
  const held = state.reservation;
  if (held === undefined || !state.holds(me)) return GOOD;
  if (scope !== LU_SCOPE || held.type !== type) throw new ScsiError(SENSE.invalidReleaseOfReservation);
  state.setReservation(undefined);
  if (isRegistrants(held.type)) state.tellRegistered(SENSE.reservationsReleased, me);
  return GOOD;
}

/** SPC-4 5.13.11.2.7. */
function clear(request: Request): TaskResult {
  const { state, me } = request;
  if (!authorized(request)) return CONFLICT;
  state.tellRegistered(SENSE.reservationsPreempted, me);
  for (const each of state.registrations) state.unregister(each.nexus);
  state.setReservation(undefined);
  state.nextGeneration();
  return GOOD;
}

/** SPC-4 5.13.11.2.4 to 5.13.11.2.6: PREEMPT, and the part of PREEMPT AND ABORT that changes the state. */
function preempt(request: Request, gone: Set<string>): TaskResult {
  const { state, me, actionKey, type } = request;
  if (!authorized(request)) return CONFLICT;
  const held = state.reservation;
  const takesOver = held !== undefined && preemptsHolder(state, actionKey);
  if (actionKey === NO_KEY && !takesOver) throw badParameter(8);
  if (takesOver) checkScopeAndType(request); // else they are ignored
  const matching = state.registrations.filter((each) => actionKey === NO_KEY || each.key === actionKey);
  if (matching.length === 0) return CONFLICT;
  // Who takes a reservation over stays registered; who only removes a key loses it like all others that use it.
  const removed = matching.map((each) => each.nexus).filter((nexus) => !takesOver || nexus !== me);
  if (takesOver) {
    for (const nexus of removed) state.unregister(nexus);
    state.setReservation({ type, holder: me });
    // Those who stay registered learn of another type (5.13.11.2.4.3 f).
    if (held.type !== type) state.tellRegistered(SENSE.reservationsReleased, me);
  } else {
    unregister(state, removed, me);
  }
  for (const nexus of removed) {
    if (nexus === me) continue;
    gone.add(nexus);
    state.tell(nexus, SENSE.registrationsPreempted);
  }
  state.nextGeneration();
  return GOOD;
}

/**
 * Ends the commands of preempted nexuses and their hold on the medium. Waits until nothing of theirs can reach it any more:
 * hosts fence each other with PREEMPT AND ABORT, and a write that lands after its GOOD status destroys what they protect.
 */
async function abortPreempted({ lu }: ScsiTask, gone: ReadonlySet<string>): Promise<void> {
  const tell = lu.modes.taskAbortedStatus;
  for (const nexus of lu.nexuses) if (gone.has(nexus.key)) nexus.preventsRemoval = false;
  await endTasks(lu, (nexus) => gone.has(nexus.key), tell).over;
}

/** True when this key preempts the reservation itself and not only registrations. */
function preemptsHolder(state: Reservations, actionKey: string): boolean {
  const held = state.reservation;
  if (held === undefined) return false;
  if (isAllRegistrants(held.type)) return actionKey === NO_KEY;
  return actionKey !== NO_KEY && state.registration(held.holder)?.key === actionKey;
}

/** SPC-4 5.13.8: hands the reservation to another nexus. */
function registerAndMove(request: Request): TaskResult {
  const { task, state, me, actionKey } = request;
  const list = task.data;
  if (!authorized(request)) return CONFLICT;
  const held = state.reservation;
  if (held === undefined) throw badCdb(1, 4);
  if (!state.holds(me) || isAllRegistrants(held.type)) return CONFLICT;
  if (actionKey === NO_KEY) throw badParameter(8);
  if (list.length !== BASIC_LENGTH + list.readUInt32BE(20)) throw new ScsiError(SENSE.parameterListLength);
  const { port, length } = decodeTransportId(list, BASIC_LENGTH);
  if (BASIC_LENGTH + length !== list.length) throw badParameter(20);
  if (port === initiatorPortName(task.nexus.initiator)) throw badParameter(BASIC_LENGTH);
  const relativeTargetPort = list.readUInt16BE(18);
  if (!task.nexus.hasTargetPort(relativeTargetPort)) throw badParameter(18);
  const nexus = nexusKey(port, relativeTargetPort);
  enter(state, [{ nexus, initiatorPort: port, relativeTargetPort, key: actionKey }]);
  state.setReservation({ type: held.type, holder: nexus });
  const flags = list[17] ?? 0;
  if ((flags & 0x02) !== 0) state.unregister(me); // UNREG
  state.setPersistent((flags & APTPL) !== 0);
  state.nextGeneration();
  return GOOD;
}

/** SPC-4 6.16.2: 24 bytes, but for REGISTER AND MOVE and for REGISTER with SPEC_I_PT, which only REGISTER may set. */
function checkList({ cdb, data }: ScsiTask): void {
  const action = (cdb[1] ?? 0) & 0x1f;
  const announced = cdb.readUInt32BE(5);
  if (announced !== data.length || announced < BASIC_LENGTH) throw new ScsiError(SENSE.parameterListLength);
  if (action === ServiceAction.registerAndMove) return;
  if (((data[20] ?? 0) & SPEC_I_PT) === 0) {
    if (announced !== BASIC_LENGTH) throw new ScsiError(SENSE.parameterListLength);
  } else if (action !== ServiceAction.register) {
    throw badParameter(20, 3);
  }
}

/** Reads the parameter list and runs one service action as one change of the state. */
async function run(task: ScsiTask, act: Action): Promise<TaskResult> {
  const state = task.lu.reservations;
  // SPC-2 5.5.1: while there is an SPC-2 reservation, even its holder cannot mix the two kinds.
  if (state.legacyReserved) return CONFLICT;
  checkList(task);
  const request: Request = {
    task,
    state,
    me: task.nexus.key,
    key: task.data.toString('hex', 0, 8),
    actionKey: task.data.toString('hex', 8, 16),
    scope: (task.cdb[2] ?? 0) >> 4,
    type: (task.cdb[2] ?? 0) & 0x0f,
  };
  return state.change(() => act(request));
}

async function preemptAndAbort(task: ScsiTask): Promise<TaskResult> {
  const gone = new Set<string>();
  const result = await run(task, (request) => preempt(request, gone));
  await abortPreempted(task, gone);
  return result;
}

function dataOut(cdb: Buffer): number {
  const length = cdb.readUInt32BE(5);
  if (length > MAX_PARAMETER_LIST) throw new ScsiError(SENSE.parameterListLength);
  return length;
}

function row(name: string, action: number, clause: string, execute: CommandSpec['run']): CommandSpec {
  return {
    name: `PERSISTENT RESERVE OUT, ${name}`,
    opcode: 0x5f,
    serviceAction: action,
    cdbUsage: [0x5f, action, 0xff, 0, 0, ...all(4), 0],
    access: 'manage',
    reserved: Reserved.allowed,
    okWhen: OK_WITHOUT_MEDIUM,
    order: 'free',
    dataOut,
    clause,
    run: execute,
  };
}

const CLAUSE = 'SPC-4 6.16.2';

export const PERSISTENT_OUT: readonly CommandSpec[] = [
  row('REGISTER', ServiceAction.register, CLAUSE, (task) => run(task, (request) => register(request, false))),
  row('RESERVE', 1, CLAUSE, (task) => run(task, reserve)),
  row('RELEASE', 2, CLAUSE, (task) => run(task, release)),
  row('CLEAR', 3, CLAUSE, (task) => run(task, clear)),
  row('PREEMPT', 4, CLAUSE, (task) => run(task, (request) => preempt(request, new Set()))),
  row('PREEMPT AND ABORT', 5, CLAUSE, preemptAndAbort),
  row('REGISTER AND IGNORE EXISTING KEY', 6, CLAUSE, (task) => run(task, (request) => register(request, true))),
  row('REGISTER AND MOVE', ServiceAction.registerAndMove, 'SPC-4 6.16.4', (task) => run(task, registerAndMove)),
];
