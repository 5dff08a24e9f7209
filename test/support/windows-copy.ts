// An initiator that offloads copies as the Windows class driver does: what it asks, in which order, what it takes for an
// answer, and when it gives up (field notes: classpnp of Windows-driver-samples).
import assert from 'node:assert/strict';
import type { TaskResult } from '../../core/scsi/task.ts';
import { describeResult } from './scsi-fixture.ts';
import type { RunOptions } from './scsi-fixture.ts';

const MIB = 1_048_576;
/** CopyOffloadMaxTargetDuration, milliseconds. */
export const PATIENCE = 4000;

/** A disk as a host sees it, here or behind iSCSI. */
export interface OdxDisk {
  /** Data-in of a command that has to end with GOOD. */
  data(cdb: readonly number[] | Buffer, options?: RunOptions): Promise<Buffer>;
  /** What a command ended with, as describeResult writes it. */
  status(cdb: readonly number[] | Buffer, options?: RunOptions): Promise<string>;
  run(cdb: readonly number[] | Buffer, options?: RunOptions): Promise<TaskResult>;
}

export interface OdxLimits {
  readonly maxRanges: number;
  readonly maxTokenBlocks: number;
  readonly optimalBlocks: number;
}

export type Range = readonly [lba: number, blocks: number];

/** What INQUIRY says of tokens; undefined: Windows does not offload to this disk. */
export async function discover(host: OdxDisk): Promise<OdxLimits | undefined> {
  const pages = await host.data([0x12, 1, 0x00, 0, 255, 0]);
  const codes = [...pages.subarray(4)];
  const ascending = codes.every((code, i) => i === 0 || code > (codes[i - 1] as number));
  if (codes[0] !== 0 || !ascending || !codes.includes(0x8f)) return undefined;
  const page = await host.data([0x12, 1, 0x8f, 0, 255, 0]);
  // The length is that of the whole page; what fits into 255 bytes is there.
  if (page.readUInt16BE(2) < 36 || page.readUInt16BE(4) !== 0x0000 || page.readUInt16BE(6) !== 0x20) return undefined;
  // QERR has to be 0, else Windows sets it so.
  const control = await host.data([0x1a, 0, 0x0a, 0, 255, 0]);
  const at = 4 + control.readUInt8(3);
  if (((control[at + 3] ?? 0) & 0x06) !== 0) {
    const list = Buffer.concat([Buffer.alloc(4), control.subarray(at)]);
    list[4] = (list[4] ?? 0) & 0x3f;
    list[4 + 3] = (list[4 + 3] ?? 0) & ~0x06;
    assert.equal(await host.status([0x15, 0x10, 0, 0, list.length, 0], { data: list }), 'GOOD');
  }
  return {
    maxRanges: page.readUInt16BE(14),
    maxTokenBlocks: Number(page.readBigUInt64BE(24)),
    optimalBlocks: Number(page.readBigUInt64BE(32)),
  };
}

const descriptors = (ranges: readonly Range[]): Buffer => {
  const out = Buffer.alloc(ranges.length * 16);
  ranges.forEach(([lba, blocks], i) => {
    out.writeBigUInt64BE(BigInt(lba), i * 16);
    out.writeUInt32BE(blocks, i * 16 + 8);
  });
  return out;
};

export function populateList(ranges: readonly Range[], timeout = 0, flags = 0, type = 0): Buffer {
  const head = Buffer.alloc(16);
  head.writeUInt16BE(14 + ranges.length * 16, 0);
  head[2] = flags;
  head.writeUInt32BE(timeout, 4);
  head.writeUInt32BE(type, 8);
  head.writeUInt16BE(ranges.length * 16, 14);
  return Buffer.concat([head, descriptors(ranges)]);
}

export function writeList(token: Buffer, offset: number, ranges: readonly Range[], flags = 0): Buffer {
  const head = Buffer.alloc(536);
  head.writeUInt16BE(534 + ranges.length * 16, 0);
  head[2] = flags;
  head.writeBigUInt64BE(BigInt(offset), 8);
  token.copy(head, 16);
  head.writeUInt16BE(ranges.length * 16, 534);
  return Buffer.concat([head, descriptors(ranges)]);
}

export function outCdb(action: number, listId: number, length: number): Buffer {
  const cdb = Buffer.alloc(16);
  cdb[0] = 0x83;
  cdb[1] = action;
  cdb.writeUInt32BE(listId, 6);
  cdb.writeUInt32BE(length, 10);
  return cdb;
}

export function inCdb(action: number, listId: number, allocation: number): Buffer {
  const cdb = Buffer.alloc(16);
  cdb[0] = 0x84;
  cdb[1] = action;
  cdb.writeUInt32BE(listId, 2);
  cdb.writeUInt32BE(allocation, 10);
  return cdb;
}

/** Global, and 256 at least. */
let nextListId = 256;
export const newListId = (): number => nextListId++;

/** POPULATE TOKEN: what it ended with. */
export function populate(host: OdxDisk, listId: number, list: Buffer): Promise<string> {
  return host.status(outCdb(0x10, listId, list.length), { data: list });
}

export function writeUsing(host: OdxDisk, listId: number, list: Buffer): Promise<string> {
  return host.status(outCdb(0x11, listId, list.length), { data: list });
}

/** RECEIVE ROD TOKEN INFORMATION as Windows reads it. */
export async function receive(
  host: OdxDisk,
  listId: number,
): Promise<{ status: number; blocks: number; token: Buffer | undefined }> {
  const data = await host.data(inCdb(0x07, listId, 1024));
  assert.equal(data.readUInt32BE(0), data.length - 4, 'AVAILABLE DATA');
  assert.equal(data[15], 0xf1, 'TRANSFER COUNT UNITS: blocks');
  assert.equal(data.readUInt16BE(24), 0, 'SEGMENTS PROCESSED');
  const senseField = data.readUInt8(13);
  assert.ok(senseField <= 18);
  const length = data.readUInt32BE(32 + senseField);
  const token = length === 514 ? Buffer.from(data.subarray(32 + senseField + 6)) : undefined;
  return { status: data.readUInt8(5) & 0x7f, blocks: Number(data.readBigUInt64BE(16)), token };
}

/** Windows' offload read: a token for as many of the blocks as the target likes. */
export async function offloadRead(host: OdxDisk, ranges: readonly Range[]): Promise<{ token: Buffer; blocks: number }> {
  const listId = newListId();
  const answer = await populate(host, listId, populateList(ranges));
  assert.equal(answer, 'GOOD');
  const { status, blocks, token } = await receive(host, listId);
  // 01h, or 03h with less than asked; anything else is no token.
  const asked = ranges.reduce((sum, [, count]) => sum + count, 0);
  assert.ok(status === 0x01 || status === 0x03, `status ${status.toString(16)}`);
  assert.ok(token, 'a descriptor list of 514 bytes');
  return { token, blocks: blocks > asked ? 0 : blocks };
}

/** Windows' offload write: in chunks, one after the other, for at most four seconds. Blocks written. */
export async function offloadWrite(
  host: OdxDisk,
  limits: OdxLimits,
  blockSize: number,
  token: Buffer,
  [lba, blocks]: Range,
  clock: { now: () => number },
): Promise<number> {
  const optimal = limits.optimalBlocks * blockSize;
  const preferred = optimal === 0 ? 64 * MIB : Math.min(optimal, 256 * MIB);
  const chunk = Math.min(preferred / blockSize, limits.maxTokenBlocks);
  const start = clock.now();
  let done = 0;
  while (done < blocks && clock.now() - start < PATIENCE) {
    const count = Math.min(chunk, blocks - done);
    const list = writeList(token, done, [[lba + done, count]]);
    const result = describeResult(await host.run(outCdb(0x11, newListId(), list.length), { data: list }));
    const partial = /^0[AB]\/0D\/04 info (\d+)/.exec(result);
    if (result !== 'GOOD' && partial === null) throw new Error(result);
    const written = partial === null ? count : Number(partial[1]);
    if (written === 0) break;
    done += written;
  }
  return done;
}

/** A whole copy. Blocks that had to be copied by reading and writing, because offloading did not. */
export async function copyFile(
  from: OdxDisk,
  to: OdxDisk,
  blockSize: number,
  [source, blocks]: Range,
  target: number,
  clock: { now: () => number },
): Promise<number> {
  const a = await discover(from);
  const b = await discover(to);
  assert.ok(a !== undefined && b !== undefined, 'both disks offer ODX');
  // With the default timeout Windows asks for no more than the optimal transfer.
  const most = Math.min(a.maxTokenBlocks, a.optimalBlocks || a.maxTokenBlocks);
  let done = 0;
  while (done < blocks) {
    const { token, blocks: got } = await offloadRead(from, [[source + done, Math.min(most, blocks - done)]]);
    const written = await offloadWrite(to, b, blockSize, token, [target + done, got], clock);
    if (written === 0) return blocks - done;
    done += written;
  }
  return 0;
}
