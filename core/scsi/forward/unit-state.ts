// What the next owner of a volume goes on with, as bytes that the mirror keeps on every replica: JSON, so that a later version
// can add to it.
import { MAX_UNIT_STATE } from '../../base/limits.ts';
import { ProtocolError, messageOf } from '../../base/errors.ts';
import { defaultModes } from '../mode-state.ts';
import type { ModeState } from '../mode-state.ts';
import type { Registration, UnitState, UnitStateStore } from '../reservations/store.ts';
import { SENSE } from '../sense.ts';
import type { SenseRow } from '../sense.ts';

/** Where the bytes are: a volume that keeps them in step with its data. */
export interface UnitStateKeeper {
  /** Those saved last, by whichever owner; undefined: none. */
  unitState(): Buffer | undefined;
  /** Every replica in sync has them durably when this resolves; later ones replace earlier ones. At most MAX_UNIT_STATE bytes. */
  setUnitState(state: Buffer): Promise<void>;
}

/** The store of a unit whose volume keeps the bytes. */
export function unitStateIn(keeper: UnitStateKeeper): UnitStateStore {
  return {
    load: () => {
      const bytes = keeper.unitState();
      return bytes === undefined || bytes.length === 0 ? undefined : decodeUnitState(bytes);
    },
    save: (state) => keeper.setUnitState(encodeUnitState(state)),
  };
}

const nameOf = ({ key, asc, ascq }: SenseRow): string => [key, asc, ascq].map((each) => each.toString(16)).join('/');
const ROWS: ReadonlyMap<string, SenseRow> = new Map(Object.values(SENSE).map((row) => [nameOf(row), row]));

/** Throws ProtocolError when it would be larger than MAX_UNIT_STATE. */
export function encodeUnitState(state: UnitState): Buffer {
  const { modes, attentions, ...rest } = state;
  const plain = {
    version: 1,
    ...rest,
    modes: { ...modes, informationalExceptions: modes.informationalExceptions.toString('hex') },
    attentions: [...attentions].map(([nexus, rows]) => [nexus, rows.map(nameOf)]),
  };
  const bytes = Buffer.from(JSON.stringify(plain));
  if (bytes.length > MAX_UNIT_STATE) throw new ProtocolError('the state of a unit is too large');
  return bytes;
}

type Plain = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Plain => typeof value === 'object' && value !== null;
const isText = (value: unknown): value is string => typeof value === 'string';
const isNumber = (value: unknown): value is number => typeof value === 'number';

/** Throws ProtocolError when it is none of ours. Fields of later versions are left out. */
export function decodeUnitState(bytes: Buffer): UnitState {
  let plain: unknown;
  try {
    plain = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new ProtocolError(`the state of a unit cannot be read: ${messageOf(error)}`);
  }
  if (!isObject(plain) || !isNumber(plain.generation) || !Array.isArray(plain.registrations)) {
    throw new ProtocolError('the state of a unit is none');
  }
  const { generation, reservation, legacy } = plain;
  const held = isObject(reservation) && isNumber(reservation.type) && isText(reservation.holder);
  return {
    generation,
    registrations: plain.registrations.filter(isRegistration),
    ...(held ? { reservation: reservation as unknown as { type: number; holder: string } } : {}),
    persistent: plain.persistent === true,
    ...(isText(legacy) ? { legacy } : {}),
    modes: modesOf(plain.modes),
    attentions: attentionsOf(plain.attentions),
  };
}

function isRegistration(value: unknown): value is Registration {
  if (!isObject(value)) return false;
  const { nexus, initiatorPort, relativeTargetPort, key } = value;
  return (
    isText(nexus) && isText(initiatorPort) && isNumber(relativeTargetPort) && isText(key) && /^[0-9a-f]{16}$/.test(key)
  );
}

function modesOf(value: unknown): ModeState {
  const modes = defaultModes();
  if (!isObject(value)) return modes;
  for (const name of [
    'descriptorSense',
    'softwareWriteProtect',
    'taskAbortedStatus',
    'provisioningReports',
    'thresholdEnabled',
  ] as const) {
    const saved = value[name];
    if (typeof saved === 'boolean') modes[name] = saved;
  }
  if (isNumber(value.queueErrorManagement)) modes.queueErrorManagement = value.queueErrorManagement;
  const exceptions = isText(value.informationalExceptions)
    ? Buffer.from(value.informationalExceptions, 'hex')
    : undefined;
  if (exceptions?.length === modes.informationalExceptions.length) modes.informationalExceptions = exceptions;
  return modes;
}

function attentionsOf(value: unknown): ReadonlyMap<string, readonly SenseRow[]> {
  const found = new Map<string, readonly SenseRow[]>();
  for (const pair of Array.isArray(value) ? (value as unknown[]) : []) {
    const [nexus, names] = Array.isArray(pair) ? (pair as unknown[]) : [];
    if (!isText(nexus) || !Array.isArray(names)) continue;
    found.set(
      nexus,
      names.flatMap((name) => (isText(name) ? (ROWS.get(name) ?? []) : [])),
    );
  }
  return found;
}
