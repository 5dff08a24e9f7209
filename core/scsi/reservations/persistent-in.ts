// PERSISTENT RESERVE IN (SPC-4 6.15).
import { OK_ORDINARY, Reserved, all } from '../command-spec.ts';
import type { CommandSpec } from '../command-spec.ts';
import { Status, goodData } from '../task.ts';
import type { ScsiTask, TaskResult } from '../task.ts';
import { isAllRegistrants } from './reservations.ts';
import type { Reservations } from './reservations.ts';
import { encodeTransportId } from './transport-id.ts';

/** PRGENERATION and ADDITIONAL LENGTH before the descriptors. */
function withHeader(reservations: Reservations, body: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32BE(reservations.generation, 0);
  header.writeUInt32BE(body.length, 4);
  return Buffer.concat([header, body]);
}

/** SPC-4 6.15.2. */
function readKeys(reservations: Reservations): Buffer {
  return withHeader(
    reservations,
    Buffer.concat(reservations.registrations.map((each) => Buffer.from(each.key, 'hex'))),
  );
}

/** SPC-4 6.15.3. The key of an all registrants reservation is zero. */
function readReservation(reservations: Reservations): Buffer {
  const held = reservations.reservation;
  if (held === undefined) return withHeader(reservations, Buffer.alloc(0));
  const body = Buffer.alloc(16);
  const holder = reservations.registration(held.holder);
  if (holder !== undefined && !isAllRegistrants(held.type)) body.write(holder.key, 0, 'hex');
  body[13] = held.type; // scope 0: logical unit
  return withHeader(reservations, body);
}

/** SPC-4 6.15.4. */
function reportCapabilities(reservations: Reservations): Buffer {
  const out = Buffer.alloc(8);
  out.writeUInt16BE(8, 0);
  out[2] = 0x08 | 0x01; // SIP_C, PTPL_C
  out[3] = 0x80 | (reservations.persistent ? 0x01 : 0); // TMV, PTPL_A
  out[4] = 0x80 | 0x40 | 0x20 | 0x08 | 0x02; // WR_EX_AR, EX_AC_RO, WR_EX_RO, EX_AC, WR_EX
  out[5] = 0x01; // EX_AC_AR
  return out;
}

/** SPC-4 6.15.5. */
function readFullStatus(reservations: Reservations): Buffer {
  const descriptors = reservations.registrations.map((each) => {
    const id = encodeTransportId(each.initiatorPort);
    const out = Buffer.alloc(24);
    out.write(each.key, 0, 'hex');
    if (reservations.holds(each.nexus)) {
      out[12] = 0x01; // R_HOLDER
      out[13] = reservations.reservation?.type ?? 0;
    }
    out.writeUInt16BE(each.relativeTargetPort, 18);
    out.writeUInt32BE(id.length, 20);
    return Buffer.concat([out, id]);
  });
  return withHeader(reservations, Buffer.concat(descriptors));
}

function row(name: string, action: number, clause: string, data: (reservations: Reservations) => Buffer): CommandSpec {
  return {
    name: `PERSISTENT RESERVE IN, ${name}`,
    opcode: 0x5e,
    serviceAction: action,
    cdbUsage: [0x5e, action, 0, 0, 0, 0, 0, ...all(2), 0],
    access: 'none',
    reserved: Reserved.allowed,
    okWhen: OK_ORDINARY,
    order: 'free',
    clause,
    run: ({ lu, nexus, cdb }: ScsiTask): TaskResult =>
      // Persistent reservations never keep anybody from reading their state, SPC-2 ones do (SPC-2 table 9).
      lu.reservations.legacyConflicts(nexus)
        ? { status: Status.reservationConflict }
        : goodData(data(lu.reservations), cdb.readUInt16BE(7)),
  };
}

export const PERSISTENT_IN: readonly CommandSpec[] = [
  row('READ KEYS', 0, 'SPC-4 6.15.2', readKeys),
  row('READ RESERVATION', 1, 'SPC-4 6.15.3', readReservation),
  row('REPORT CAPABILITIES', 2, 'SPC-4 6.15.4', reportCapabilities),
  row('READ FULL STATUS', 3, 'SPC-4 6.15.5', readFullStatus),
];
