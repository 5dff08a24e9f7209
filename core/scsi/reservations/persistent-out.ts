// PERSISTENT RESERVE OUT (SPC-4 6.16): the service actions, each a short function over the state in Reservations.
import { MAX_PARAMETER_LIST, MAX_REGISTRATIONS } from '../../base/limits.ts';
import { OK_ORDINARY, Reserved, all } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import { nexusKey } from '../lun-nexus.ts';
import { SENSE, ScsiError, badCdb, badParameter } from '../sense.ts';
import { GOOD, Status } from '../task.ts';
import type { ScsiTask, TaskResult } from '../task.ts';
import { ReservationType, isAllRegistrants, isRegistrants, registrationOf } from './reservations.ts';
import type { Reservations } from './reservations.ts';
import { decodeTransportId } from './transport-id.ts';

const CONFLICT: TaskResult = { status: Status.reservationConflict };
const NO_KEY = '0000000000000000';
const TYPES: ReadonlySet<number> = new Set(Object.values(ReservationType));
const BASIC_LENGTH = 24;

/** What all service actions look at. */
interface Request {
  readonly task: ScsiTask;
  readonly state: Reservations;
  /** Key of the I_T nexus the command came by. */
  readonly me: string;
  /** RESERVATION KEY and SERVICE ACTION RESERVATION KEY, 16 hexadecimal digits. */
  readonly key: string;
  readonly actionKey: string;
  /** TYPE of the CDB. */
  readonly type: number;
}

/** The command came by a registered nexus and names its key. */
function authorized({ state, me, key }: Request): boolean {
  return state.registration(me)?.key === key;
}

/** SPC-4 5.13.7: REGISTER and REGISTER AND IGNORE EXISTING KEY. */
function register(request: Request, ignoreKey: boolean): TaskResult {
  const { task, state, me, key, actionKey } = request;
  const flags = task.data[20] ?? 0;
  if ((flags & 0x04) !== 0) throw badParameter(20, 2); // ALL_TG_PT: ATP_C is 0
  const others = (flags & 0x08) === 0 ? [] : specifiedPorts(request, ignoreKey);
  const existing = state.registration(me);
  if (!ignoreKey && (existing?.key ?? NO_KEY) !== key) return CONFLICT;
  if (existing === undefined && actionKey === NO_KEY) return GOOD;
  if (actionKey === NO_KEY) {
    unregister(state, me);
  } else {
    const count = state.registrations.length + others.length + (existing === undefined ? 1 : 0);
    if (count > MAX_REGISTRATIONS) throw new ScsiError(SENSE.insufficientRegistrationResources);
    state.register(registrationOf(task.nexus, actionKey));
    for (const port of others) {
      const relativeTargetPort = task.nexus.target.relativeId;
      const nexus = nexusKey(port, relativeTargetPort);
      state.register({ nexus, initiatorPort: port, relativeTargetPort, key: actionKey });
    }
  }
  state.setPersistent((flags & 0x01) !== 0);
  state.nextGeneration();
  return GOOD;
}

/** SPEC_I_PT (SPC-4 6.16.3): initiator ports to register besides the one that asks. */
function specifiedPorts({ task, state, me }: Request, ignoreKey: boolean): string[] {
  if (ignoreKey || state.registration(me) !== undefined) throw badParameter(20, 3);
  const list = task.data;
  if (list.length < BASIC_LENGTH + 4) throw new ScsiError(SENSE.parameterListLength);
  const end = BASIC_LENGTH + 4 + list.readUInt32BE(BASIC_LENGTH);
  if (end !== list.length) throw new ScsiError(SENSE.parameterListLength);
  const ports: string[] = [];
  for (let at = BASIC_LENGTH + 4; at < end;) {
    const { port, length } = decodeTransportId(list, at);
    if (state.registration(nexusKey(port, task.nexus.target.relativeId)) !== undefined) throw badParameter(at);
    ports.push(port);
    at += length;
  }
  return ports;
}

/** Removes a registration; a reservation it held ends with it (SPC-4 5.13.11.2.2). */
function unregister(state: Reservations, nexus: string): void {
  const held = state.reservation;
  const wasHolder = state.holds(nexus);
  state.unregister(nexus);
  if (held === undefined || !wasHolder) return;
  if (isAllRegistrants(held.type) && state.registrations.length > 0) return;
  state.setReservation(undefined);
  if (isRegistrants(held.type)) state.tellRegistered(SENSE.reservationsReleased, nexus);
}

/** SPC-4 5.13.9. */
function reserve(request: Request): TaskResult {
  const { state, me, type } = request;
  if (!authorized(request)) return CONFLICT;
  if (!TYPES.has(type)) throw badCdb(2, 3);
  const held = state.reservation;
  if (held !== undefined) return state.holds(me) && held.type === type ? GOOD : CONFLICT;
  state.setReservation({ type, holder: me });
  return GOOD;
}

/** SPC-4 5.13.11.2.1. */
function release(request: Request): TaskResult {
  const { state, me, type } = request;
  if (!authorized(request)) return CONFLICT;
  const held = state.reservation;
  if (held === undefined || !state.holds(me)) return GOOD;
  if (held.type !== type) throw new ScsiError(SENSE.invalidReleaseOfReservation);
  state.setReservation(undefined);
  if (isRegistrants(held.type)) state.tellRegistered(SENSE.reservationsReleased, me);
  return GOOD;
}

/** SPC-4 5.13.11.2.6. */
function clear(request: Request): TaskResult {
  const { state, me } = request;
  if (!authorized(request)) return CONFLICT;
  state.tellRegistered(SENSE.reservationsPreempted, me);
  for (const each of state.registrations) state.unregister(each.nexus);
  state.setReservation(undefined);
  state.nextGeneration();
  return GOOD;
}

/** SPC-4 5.13.11.2.3 to 5.13.11.2.5: PREEMPT and PREEMPT AND ABORT. */
function preempt(request: Request, abort: boolean): TaskResult {
  const { task, state, me, actionKey, type } = request;
  if (!authorized(request)) return CONFLICT;
  const held = state.reservation;
  const takesOver = held !== undefined && preemptsHolder(state, actionKey);
  if (takesOver && !TYPES.has(type)) throw badCdb(2, 3);
  if (actionKey === NO_KEY && !takesOver) throw badParameter(8);
  const everybody = takesOver && isAllRegistrants(held.type) && actionKey === NO_KEY;
  const matching = state.registrations.filter((each) => everybody || each.key === actionKey);
  if (matching.length === 0) return CONFLICT;
  const removed = matching.filter((each) => each.nexus !== me);
  for (const each of removed) {
    state.unregister(each.nexus);
    state.tell(each.nexus, SENSE.registrationsPreempted);
  }
  if (takesOver) {
    state.setReservation({ type, holder: me });
    // SPC-4 5.13.11.2.4: those who stay registered learn that the old reservation is gone when its type changed.
    if (held.type !== type && isRegistrants(held.type)) state.tellRegistered(SENSE.reservationsReleased, me);
  }
  state.nextGeneration();
  if (abort) {
    const gone = new Set(removed.map((each) => each.nexus));
    task.lu.tasks.abort((other) => gone.has(other.nexus.key), task.lu.modes.taskAbortedStatus);
  }
  return GOOD;
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
  if (held === undefined || !state.holds(me) || isAllRegistrants(held.type)) return CONFLICT;
  if (actionKey === NO_KEY) throw badParameter(8);
  if (list.length !== BASIC_LENGTH + list.readUInt32BE(20)) throw new ScsiError(SENSE.parameterListLength);
  const { port, length } = decodeTransportId(list, BASIC_LENGTH);
  if (BASIC_LENGTH + length !== list.length) throw badParameter(20);
  const relativeTargetPort = list.readUInt16BE(18);
  if (!task.nexus.hasTargetPort(relativeTargetPort)) throw badParameter(18);
  const nexus = nexusKey(port, relativeTargetPort);
  if (nexus === me) throw badParameter(BASIC_LENGTH);
  state.register({ nexus, initiatorPort: port, relativeTargetPort, key: actionKey });
  state.setReservation({ type: held.type, holder: nexus });
  const flags = list[17] ?? 0;
  if ((flags & 0x02) !== 0) state.unregister(me); // UNREG
  state.setPersistent((flags & 0x01) !== 0);
  state.nextGeneration();
  return GOOD;
}

/** Reads the parameter list and runs one service action as one change of the state. */
async function run(
  task: ScsiTask,
  act: (request: Request) => TaskResult,
  variableLength: boolean,
): Promise<TaskResult> {
  const state = task.lu.reservations;
  if (state.legacyConflicts(task.nexus)) return CONFLICT;
  const announced = task.cdb.readUInt32BE(5);
  const hasPorts = variableLength && ((task.data[20] ?? 0) & 0x08) !== 0;
  const isMove = (task.cdb[1] ?? 0) === 0x07;
  if (announced !== task.data.length || announced < BASIC_LENGTH) throw new ScsiError(SENSE.parameterListLength);
  if (announced !== BASIC_LENGTH && !hasPorts && !isMove) throw new ScsiError(SENSE.parameterListLength);
  if ((task.cdb[2] ?? 0) >> 4 !== 0) throw badCdb(2, 7); // only the logical unit scope exists
  const request: Request = {
    task,
    state,
    me: task.nexus.key,
    key: task.data.toString('hex', 0, 8),
    actionKey: task.data.toString('hex', 8, 16),
    type: (task.cdb[2] ?? 0) & 0x0f,
  };
  return state.change(() => act(request));
}

function dataOut(cdb: Buffer): number {
  const length = cdb.readUInt32BE(5);
  if (length > MAX_PARAMETER_LIST) throw new ScsiError(SENSE.parameterListLength);
  return length;
}

function row(
  name: string,
  action: number,
  clause: string,
  act: (request: Request) => TaskResult,
  variableLength = false,
): CommandSpec {
  return {
    name: `PERSISTENT RESERVE OUT, ${name}`,
    opcode: 0x5f,
    serviceAction: action,
    cdbUsage: [0x5f, action, 0xff, 0, 0, ...all(4), 0],
    access: 'manage',
    reserved: Reserved.allowed,
    okWhen: OK_ORDINARY,
    order: 'free',
    dataOut,
    clause,
    run: (task) => run(task, act, variableLength),
  };
}

export const PERSISTENT_OUT: readonly CommandSpec[] = [
  row('REGISTER', 0, 'SPC-4 6.16.2', (request) => register(request, false), true),
  row('RESERVE', 1, 'SPC-4 6.16.2', reserve),
  row('RELEASE', 2, 'SPC-4 6.16.2', release),
  row('CLEAR', 3, 'SPC-4 6.16.2', clear),
  row('PREEMPT', 4, 'SPC-4 6.16.2', (request) => preempt(request, false)),
  row('PREEMPT AND ABORT', 5, 'SPC-4 6.16.2', (request) => preempt(request, true)),
  row('REGISTER AND IGNORE EXISTING KEY', 6, 'SPC-4 6.16.2', (request) => register(request, true), true),
  row('REGISTER AND MOVE', 7, 'SPC-4 6.16.4', registerAndMove, true),
];
