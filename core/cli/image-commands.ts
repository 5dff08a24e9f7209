import { closeSync, existsSync, fsyncSync, linkSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { basename, dirname, join, resolve } from 'node:path';
import { Option } from 'commander';
import type { Command } from 'commander';
import { ServiceError, messageOf } from '../base/errors.ts';
import { MAX_VOLUME, MIN_VOLUME } from '../base/limits.ts';
import { formatSize } from '../base/sizes.ts';
import type { Disk, Session } from './answers.ts';
import type { ApiClient } from '../../plugins/sdk/client.ts';
import { segment, show } from './command.ts';
import type { CliContext } from './command.ts';
import { goOn, lunOf, oneTimeInitiator, undoing } from './image-access.ts';
import type { Undo } from './image-access.ts';
import { IMPORT_FORMATS, inspectImage, refuse } from './image-file.ts';
import type { ImportFormat } from './image-file.ts';
import { startProgress } from './progress.ts';
import { EXPORT_FORMATS, copyFromLun, copyToLun, examineImage, requireQemuImg } from './qemu-img.ts';
import type { ExportFormat } from './qemu-img.ts';

interface ImportOptions {
  readonly format?: ImportFormat;
  readonly pool?: string;
  readonly thick?: boolean;
  readonly durability?: string;
  readonly map?: string[];
  readonly allowBacking?: boolean;
}

interface ExportOptions {
  readonly format: ExportFormat;
  readonly force?: boolean;
}

/** Of a volume in a pool, the API names the pool as well. */
type PoolDisk = Disk & { readonly pool?: string | null };

/** Bytes a volume is a multiple of: the logical block, or in a pool the block that has a checksum. */
const BLOCK = 512;
const POOL_BLOCK = 4096;

const collect = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];

/** `import` and `export` below `volume`; added after its other commands. (Those below `pool` are about whole pools.) */
export function addImageCommands(program: Command, context: CliContext): void {
  const parent =
    program.commands.find((command) => command.name() === 'volume') ??
    program.command('volume').description('import disks from images and export them');
  addImport(parent, context);
  addExport(parent, context);
}

function addImport(parent: Command, context: CliContext): void {
  parent
    .command('import <file> <name>')
    .description('make a disk from an image; needs qemu-img and an admin token')
    .addOption(new Option('--format <format>', 'of the image (default: what it looks like)').choices(IMPORT_FORMATS))
    .option('--pool <pool>', 'the pool the disk is made in')
    .option('--thick', 'take all the space now')
    .addOption(
      new Option('--durability <when>', 'durable (default): acknowledged when stable').choices(['durable', 'volatile']),
    )
    .option('--map <who>', 'loopback, all, or an initiator name, once the data is there; repeatable', collect)
    .option('--allow-backing', 'take an image that needs other files; you trust them all')
    .action(async (file: string, name: string, options: ImportOptions, command: Command) => {
      const started = Date.now();
      const client = context.client(command);
      const { disk, format } = await undoing((undo, signal) =>
        importImage({ client, undo, signal, terminal: terminalOf(context, command) }, file, name, options),
      );
      const imported = { file: resolve(file), format, milliseconds: Date.now() - started };
      show(context, command, { ...disk, imported }, (each) => {
        const used = each.allocatedBytes === null ? '' : `, ${formatSize(each.allocatedBytes)} used`;
        const maps = each.maps.map((map) => map.initiator).join(', ') || 'nobody';
        return `Imported ${basename(file)} as ${each.name} (${formatSize(each.size)}${used}), mapped to ${maps}\n  ${each.url}`;
      });
    });
}

function addExport(parent: Command, context: CliContext): void {
  parent
    .command('export <name> <file>')
    .description('copy a disk into a new image; needs qemu-img and an admin token')
    .addOption(new Option('--format <format>', 'of the image').choices(EXPORT_FORMATS).default('raw'))
    .option('--force', 'although initiators are using the disk: the image is not of one instant then')
    .action(async (name: string, file: string, options: ExportOptions, command: Command) => {
      const started = Date.now();
      const path = resolve(file);
      const client = context.client(command);
      const { disk, users } = await undoing((undo, signal) =>
        exportImage({ client, undo, signal, terminal: terminalOf(context, command) }, name, path, options),
      );
      const { size, blocks } = statSync(path);
      const facts = { file: path, format: options.format, size: disk.size, fileBytes: size, usedBytes: blocks * 512 };
      const answer = { exported: name, ...facts, inUseBy: users, milliseconds: Date.now() - started };
      show(context, command, answer, () => {
        const caution =
          users.length === 0
            ? ''
            : `\nCaution: ${users.join(', ')} used the disk meanwhile; the image mixes older and newer data.`;
        return `Exported ${name} (${formatSize(disk.size)}) to ${file} (${formatSize(blocks * 512)} used)${caution}`;
      });
    });
}

/** What a copy runs with. */
interface Run {
  readonly client: ApiClient;
  readonly undo: Undo;
  readonly signal: AbortSignal;
  readonly terminal: CliContext['terminal'];
}

const terminalOf = (context: CliContext, command: Command): CliContext['terminal'] =>
  command.optsWithGlobals<{ json?: boolean }>().json === true ? undefined : context.terminal;

async function importImage(
  { client, undo, signal, terminal }: Run,
  file: string,
  name: string,
  options: ImportOptions,
): Promise<{ disk: Disk; format: ImportFormat }> {
  for (const who of options.map ?? []) checkWho(who);
  const image = inspectImage(file, options.format, options.allowBacking ?? false);
  await requireQemuImg(signal);
  const bytes = await examineImage(image, signal);
  if (bytes > MAX_VOLUME) throw refuse(file, `has ${formatSize(bytes)}; a disk has at most ${formatSize(MAX_VOLUME)}`);
  const who = await oneTimeInitiator(client, undo);
  goOn(signal);
  const path = `/volumes/${segment(name)}`;
  const block = options.pool === undefined ? BLOCK : POOL_BLOCK;
  const made: { id?: string } = {};
  undo.add(`disk ${name}`, async () => {
    // When the answer to our request was lost, the map tells whether it was carried out: a disk of this name that is not
    // mapped to our initiator is somebody else's.
    const found = (await client.call('GET', path)) as Disk;
    const ours = found.id === made.id || found.maps.some((map) => map.initiator === who.initiator);
    if (ours) await client.call('DELETE', `${path}?force=true`);
  });
  const created = (await client.call('POST', '/volumes', {
    name,
    size: Math.max(MIN_VOLUME, Math.ceil(bytes / block) * block),
    thin: options.thick === true ? false : undefined,
    durability: options.durability,
    pool: options.pool,
    maps: [{ initiator: who.initiator, access: 'read-write' }],
  })) as Disk;
  made.id = created.id;
  const progress = startProgress(terminal, `Importing ${name}`, bytes);
  try {
    await copyToLun(image, await lunOf(created, who, signal), signal, progress.update);
  } finally {
    progress.end();
  }
  // Nobody else sees the disk before all of it is there.
  for (const each of options.map ?? []) {
    goOn(signal);
    await client.call('PUT', `${path}/maps/${segment(each)}`, { access: 'read-write' });
  }
  goOn(signal);
  const disk = (await client.call('DELETE', `${path}/maps/${segment(who.initiator)}`)) as Disk;
  await client.call('DELETE', `/initiators/${segment(who.initiator)}`);
  return { disk, format: image.format };
}

async function exportImage(
  { client, undo, signal, terminal }: Run,
  name: string,
  path: string,
  options: ExportOptions,
): Promise<{ disk: Disk; users: string[] }> {
  if (existsSync(path)) throw new ServiceError('exists', `there is a file ${path} already`);
  await requireQemuImg(signal);
  const url = `/volumes/${segment(name)}`;
  const before = (await client.call('GET', url)) as PoolDisk;
  const users = before.sessions === 0 ? [] : await usersOf(client, before);
  if (users.length > 0 && options.force !== true) {
    const instead = typeof before.pool === 'string' ? ' (or export a snapshot of it: gemel snapshot)' : '';
    throw new ServiceError('in-use', `disk '${name}' is in use by ${users.slice(0, 3).join(', ')}${instead}`);
  }
  const partial = reservePartial(path);
  undo.add(`file ${partial}`, () => rm(partial, { force: true }));
  const who = await oneTimeInitiator(client, undo);
  const map = `${url}/maps/${segment(who.initiator)}`;
  const unmap = async (): Promise<Disk> => (await client.call('DELETE', map)) as Disk;
  goOn(signal);
  undo.add(`the map of ${name} to ${who.initiator}`, unmap);
  const disk = (await client.call('PUT', map, { access: 'read-only' })) as Disk;
  const progress = startProgress(terminal, `Exporting ${name}`, disk.size);
  try {
    await copyFromLun(await lunOf(disk, who, signal), partial, options.format, signal, progress.update);
  } finally {
    progress.end();
  }
  // Somebody may have come meanwhile.
  const { sessions } = await unmap();
  const now = sessions === 0 ? [] : (await usersOf(client, disk)).filter((each) => each !== who.initiator);
  if (now.length > 0 && users.length === 0 && options.force !== true) {
    throw new ServiceError('in-use', `${now.slice(0, 3).join(', ')} began to use disk '${name}' while it was copied`);
  }
  await client.call('DELETE', `/initiators/${segment(who.initiator)}`);
  goOn(signal);
  publish(partial, path);
  return { disk, users: [...new Set([...users, ...now])] };
}

/** Initiators that are logged in to the target of `disk`; a target may have other LUNs, so these may be more than its users. */
async function usersOf(client: ApiClient, disk: Disk): Promise<string[]> {
  const sessions = (await client.list('/sessions')) as Session[];
  const names = sessions.filter((session) => session.target === disk.iqn).map((session) => session.initiator);
  return [...new Set(names)];
}

/** A new empty file beside `path`, readable by its owner only: whoever has it has the whole disk. */
function reservePartial(path: string): string {
  const partial = join(dirname(path), `.${basename(path)}.${randomBytes(4).toString('hex')}.partial`);
  try {
    closeSync(openSync(partial, 'wx', 0o600));
    return partial;
  } catch (error) {
    throw new ServiceError('bad-request', `${path} cannot be written: ${messageOf(error)}`, { cause: error });
  }
}

/** Gives the finished image its name, never over another file, and makes it stable. */
function publish(partial: string, path: string): void {
  const fd = openSync(partial, 'r');
  fsyncSync(fd);
  closeSync(fd);
  try {
    // A link fails where a rename would replace.
    linkSync(partial, path);
    rmSync(partial);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EEXIST') throw new ServiceError('exists', `there is a file ${path} now`, { cause: error });
    renameSync(partial, path); // a file system without links
  }
}

/** What the daemon would refuse only after the copy. */
function checkWho(who: string): void {
  if (/^(loopback|all|(iqn|eui|naa)\.\S+)$/i.test(who)) return;
  throw new ServiceError('bad-request', `'${who.slice(0, 80)}' is not loopback, all or the name of an initiator`);
}
