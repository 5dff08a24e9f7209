// What the copy manager tells of its copies (SPC-4 6.20 to 6.25): limits, and the state of one operation by its list identifier.
import {
  MAX_COPY_CSCDS,
  MAX_COPY_DESCRIPTORS,
  MAX_COPY_OPERATIONS,
  MAX_COPY_SEGMENT,
  MAX_COPY_SEGMENTS,
} from '../core/base/limits.ts';
import { load32, store32 } from '../core/base/bytes-at.ts';
import { OK_WITHOUT_MEDIUM, Reserved, all } from '../core/scsi/command-spec.ts';
import type { CommandSpec } from '../core/scsi/command-spec.ts';
import { CopyStatus, stateOf } from '../core/scsi/copy-operations.ts';
import type { CopyOperation } from '../core/scsi/copy-operations.ts';
import { badCdb } from '../core/scsi/sense.ts';
import { goodData } from '../core/scsi/task.ts';
import type { ScsiTask, TaskResult } from '../core/scsi/task.ts';
import { DATA_SEGMENT_GRANULARITY, Descriptor } from './copy-list.ts';

const LIST_ID_AT = 2;
/** Service action of what RECEIVE COPY FAILURE DETAILS is about. */
const EXTENDED_COPY_LID1 = 0x00;

/** The operation of this nexus with the list identifier in the CDB. Throws 05/24/00. */
function operationOf({ lu, nexus, cdb }: ScsiTask, width: 1 | 4): CopyOperation {
  const listId = width === 1 ? (cdb[LIST_ID_AT] as number) : load32(cdb, LIST_ID_AT);
  const operation = lu.copies.find(nexus, listId);
  if (operation === undefined) throw badCdb(LIST_ID_AT);
  return operation;
}

function answer(cdb: Buffer, data: Buffer): TaskResult {
  store32(data, 0, data.length - 4); // AVAILABLE DATA
  return goodData(data, load32(cdb, 10));
}

/** SPC-4 6.25: COPY COMMAND STATUS, SEGMENTS PROCESSED, TRANSFER COUNT. Of what is over it is told once. */
function copyStatusLid1(task: ScsiTask): TaskResult {
  const operation = operationOf(task, 1);
  if (operation.statusTold) throw badCdb(LIST_ID_AT);
  operation.statusTold = operation.isOver;
  const data = Buffer.alloc(12);
  data[4] = operation.isOver ? (operation.status === CopyStatus.done ? 0x01 : 0x02) : 0x00;
  data.writeUInt16BE(operation.segments, 5);
  data[7] = operation.units;
  store32(data, 8, Math.min(operation.transferred, 0xffff_ffff));
  return answer(task.cdb, data);
}

/** SPC-4 6.21: none of our segments holds data for the initiator, and HELD DATA LIMIT is 0. */
function copyDataLid1(task: ScsiTask): TaskResult {
  if (!operationOf(task, 1).isOver) throw badCdb(LIST_ID_AT);
  return answer(task.cdb, Buffer.alloc(4));
}

/** SPC-4 6.22. */
function operatingParameters({ cdb }: ScsiTask): TaskResult {
  const types = [Descriptor.blockToBlock, Descriptor.verify, Descriptor.offsetToOffset, Descriptor.identification];
  const data = Buffer.alloc(44 + types.length);
  data[4] = 0x01; // SNLID: LIST ID USAGE 11b is known
  data.writeUInt16BE(MAX_COPY_CSCDS, 8);
  data.writeUInt16BE(MAX_COPY_SEGMENTS, 10);
  store32(data, 12, MAX_COPY_DESCRIPTORS);
  store32(data, 16, MAX_COPY_SEGMENT);
  // MAXIMUM INLINE DATA LENGTH, HELD DATA LIMIT, MAXIMUM STREAM DEVICE TRANSFER SIZE: 0, there is nothing of the kind.
  data.writeUInt16BE(MAX_COPY_OPERATIONS, 34);
  data[36] = Math.min(MAX_COPY_OPERATIONS, 255);
  data[37] = Math.log2(DATA_SEGMENT_GRANULARITY);
  data[43] = types.length;
  data.set(types, 44);
  return answer(cdb, data);
}

/**
 * SPC-4 6.23: the sense data of an EXTENDED COPY (LID1) that failed; without a failure there is none to tell of. They are told
 * once, all of them, and forgotten by who asks for none of them.
 */
function failedSegmentDetails(task: ScsiTask): TaskResult {
  const operation = operationOf(task, 1);
  if (!operation.isOver || operation.action !== EXTENDED_COPY_LID1) throw badCdb(LIST_ID_AT);
  const allocation = load32(task.cdb, 10);
  if (operation.sense.length === 0 || operation.detailsTold) return answer(task.cdb, Buffer.alloc(4));
  const head = Buffer.alloc(60);
  operation.detailsTold = allocation === 0 || allocation >= head.length + operation.sense.length;
  head[56] = operation.completion;
  head.writeUInt16BE(operation.sense.length, 58);
  return answer(task.cdb, Buffer.concat([head, operation.sense]));
}

const copyStatusLid4 = (task: ScsiTask): TaskResult => answer(task.cdb, stateOf(operationOf(task, 4), true));

/** With HELD DATA LENGTH 0 behind it. */
const copyDataLid4 = (task: ScsiTask): TaskResult =>
  answer(task.cdb, Buffer.concat([stateOf(operationOf(task, 4), true), Buffer.alloc(4)]));

function spec(
  name: string,
  serviceAction: number,
  listId: 0 | 1 | 4,
  clause: string,
  run: CommandSpec['run'],
): CommandSpec {
  const ids = [...all(listId), 0, 0, 0, 0].slice(0, 4);
  return {
    name,
    opcode: 0x84,
    serviceAction,
    cdbUsage: [0x84, serviceAction, ...ids, 0, 0, 0, 0, ...all(4), 0, 0],
    access: 'none',
    reserved: Reserved.unlessExclusive,
    okWhen: OK_WITHOUT_MEDIUM,
    order: 'free',
    clause,
    run,
  };
}

export const RECEIVE_COPY: readonly CommandSpec[] = [
  spec('RECEIVE COPY STATUS (LID1)', 0x00, 1, 'SPC-4 6.25', copyStatusLid1),
  spec('RECEIVE COPY DATA (LID1)', 0x01, 1, 'SPC-4 6.21', copyDataLid1),
  spec('RECEIVE COPY OPERATING PARAMETERS', 0x03, 0, 'SPC-4 6.22', operatingParameters),
  spec('RECEIVE COPY FAILURE DETAILS (LID1)', 0x04, 1, 'SPC-4 6.23', failedSegmentDetails),
  spec('RECEIVE COPY STATUS (LID4)', 0x05, 4, 'SPC-4 6.24', copyStatusLid4),
  spec('RECEIVE COPY DATA (LID4)', 0x06, 4, 'SPC-4 6.20', copyDataLid4),
];
