// What an image file is, found out without trusting it. An image may name other files (a backing file, a data file, the
// extents of a VMDK), and a program that opens them hands their content to whoever made the image. So the format is
// taken from a short list, and whatever would make qemu-img open a second file is found here, before it runs.
import { closeSync, fstatSync, lstatSync, openSync, readSync } from 'node:fs';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { ServiceError, messageOf } from '../base/errors.ts';
import { MAX_VMDK_DESCRIPTOR } from '../base/limits.ts';

export const IMPORT_FORMATS = ['raw', 'qcow2', 'vmdk', 'vhdx'] as const;
export type ImportFormat = (typeof IMPORT_FORMATS)[number];

export interface ImageFile {
  /** Absolute. */
  readonly path: string;
  readonly format: ImportFormat;
  /** May it name other files? Then whoever runs the command vouches for them. */
  readonly allowBacking: boolean;
}

/** Bytes at the beginning that tell the formats apart. */
const HEAD = 4096;
const QCOW2_MAGIC = 0x514649fb;
/** Bit of the incompatible features of a qcow2 version 3 image: its data is in another file. */
const QCOW2_EXTERNAL_DATA = 0x4n;
const SECTOR = 512n;
/** Bytes QEMU reads of a descriptor that is embedded in a sparse VMDK. */
const VMDK_EMBEDDED = 10_240;

/**
 * Looks at an image file. `wanted` is the format the caller says it has; without it the content decides, and only a name
 * that says so makes a raw image. Throws ServiceError bad-request or not-found.
 */
export function inspectImage(file: string, wanted: ImportFormat | undefined, allowBacking: boolean): ImageFile {
  const path = resolve(file);
  const fd = open(path);
  try {
    if (!fstatSync(fd).isFile()) throw refuse(file, 'is not a regular file');
    if (fstatSync(fd).size === 0) throw refuse(file, 'is empty');
    const head = read(fd, 0, HEAD);
    const format = formatOf(file, wanted, detect(head));
    if (!allowBacking && format === 'qcow2') checkQcow2(file, head);
    if (!allowBacking && format === 'vmdk') checkVmdk(path, fd, head);
    return { path, format, allowBacking };
  } finally {
    closeSync(fd);
  }
}

/** Throws ServiceError bad-request unless `name`, an extent of the VMDK image at `path`, belongs to this image alone. */
export function checkExtent(path: string, name: string): void {
  const stem = basename(path, extname(path));
  // ESXi and QEMU call the extents of disk.vmdk disk-flat.vmdk, disk-s001.vmdk and so on. A colon or a slash would let
  // the name lead elsewhere.
  const plain = name.startsWith(`${stem}-`) && !/[/\\:\0]/.test(name);
  if (!plain) throw refuse(path, `takes its data from another file ('${shown(name)}')`, true);
  const stat = lstatSync(join(dirname(path), name), { throwIfNoEntry: false });
  if (stat === undefined) throw refuse(path, `misses its part '${shown(name)}'`);
  if (!stat.isFile()) throw refuse(path, `has a part that is not a regular file ('${shown(name)}')`);
}

/** The error for an image that is not taken; with `vouch`, naming the option that takes it nevertheless. */
export function refuse(file: string, why: string, vouch = false): ServiceError {
  const hint = vouch ? '; if you trust the image and all files it names, repeat with --allow-backing' : '';
  return new ServiceError('bad-request', `${shown(file)} ${why}${hint}`);
}

/** Text from outside, for a message: bounded and without control characters. */
export function shown(text: string): string {
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '?').slice(0, 400);
}

function open(path: string): number {
  try {
    // A FIFO would block an open for reading; only then can its kind be seen.
    if (!(lstatSync(path).isFile() || lstatSync(path).isSymbolicLink())) throw refuse(path, 'is not a regular file');
    return openSync(path, 'r');
  } catch (error) {
    if (error instanceof ServiceError) throw error;
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    const code = missing ? 'not-found' : 'bad-request';
    throw new ServiceError(code, `${shown(path)} cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

function read(fd: number, position: number, length: number): Buffer {
  const buffer = Buffer.alloc(length);
  return buffer.subarray(0, readSync(fd, buffer, 0, length, position));
}

function detect(head: Buffer): ImportFormat | 'other' | undefined {
  const begins = (text: string): boolean => head.subarray(0, text.length).equals(Buffer.from(text, 'latin1'));
  if (head.length >= 8 && head.readUInt32BE(0) === QCOW2_MAGIC) return head.readUInt32BE(4) >= 2 ? 'qcow2' : 'other';
  if (begins('KDMV') || /^# *Disk DescriptorFile/i.test(head.toString('latin1'))) return 'vmdk';
  if (begins('vhdxfile')) return 'vhdx';
  // Formats qemu-img would know: as raw images they would import as rubbish.
  return ['QED\0', 'COWD', 'conectix', '<<< '].some(begins) ? 'other' : undefined;
}

function formatOf(
  file: string,
  wanted: ImportFormat | undefined,
  found: ImportFormat | 'other' | undefined,
): ImportFormat {
  const extension = extname(file).toLowerCase();
  if (wanted !== undefined) {
    if (wanted === 'raw' || wanted === found) return wanted;
    throw refuse(file, `is no ${wanted} image`);
  }
  if (found === 'other') throw refuse(file, `has a format that is not taken; those are ${IMPORT_FORMATS.join(', ')}`);
  if (found !== undefined) {
    // A guest may have written this header into its raw disk.
    if (extension === '.raw') throw refuse(file, `is called raw and looks like ${found}; say which with --format`);
    return found;
  }
  if (extension === '.raw' || extension === '.img') return 'raw';
  throw refuse(file, `is no ${IMPORT_FORMATS.slice(1).join(', ')} image; if it is a raw one, say --format raw`);
}

function checkQcow2(file: string, head: Buffer): void {
  const version = head.readUInt32BE(4);
  if (version < 3 || head.length < 80) return;
  if ((head.readBigUInt64BE(72) & QCOW2_EXTERNAL_DATA) !== 0n) throw refuse(file, 'has its data in another file', true);
}

function checkVmdk(path: string, fd: number, head: Buffer): void {
  let text: string;
  if (head.subarray(0, 4).toString('latin1') === 'KDMV') {
    if (head.length < 512) throw refuse(path, 'is truncated');
    // A sparse VMDK carries its data itself, unless its capacity is 0: then its own descriptor names extents.
    if (head.readBigUInt64LE(12) !== 0n) return;
    const offset = head.readBigUInt64LE(28) * SECTOR;
    if (offset > BigInt(fstatSync(fd).size)) throw refuse(path, 'is truncated');
    text = read(fd, Number(offset), VMDK_EMBEDDED).toString('latin1');
  } else text = read(fd, 0, MAX_VMDK_DESCRIPTOR).toString('latin1');
  for (const name of extentNames(text)) checkExtent(path, name);
}

/** What stands in quotes on lines that are no `key = "value"`. */
function* extentNames(descriptor: string): Generator<string> {
  for (const line of descriptor.split(/[\r\n\0]/)) {
    const quote = line.indexOf('"');
    if (quote === -1 || line.slice(0, quote).includes('=')) continue;
    yield line.slice(quote + 1).split('"')[0] ?? '';
  }
}
