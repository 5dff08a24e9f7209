// Is the catalog whole, and the metadata of pools? LMDB maps its file into memory and believes it: a truncated or overwritten one does not fail, it
// kills the process. So a process that may die looks first.
import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ServiceError } from '../base/errors.ts';

/** Milliseconds; reading the largest catalog takes far less than a second. */
const PATIENCE = 60_000;
const STORE = new URL('../cluster/embedded-store.js', import.meta.url).href;
const PROGRAM = `
  import { EmbeddedStore } from ${JSON.stringify(STORE)};
  const store = new EmbeddedStore(process.argv[1]);
  await store.check();
  await store.close();`;

const META = new URL('../pool/pool-meta.js', import.meta.url).href;
const META_PROGRAM = `
  import { LmdbMeta } from ${JSON.stringify(META)};
  const meta = new LmdbMeta(process.argv[1]);
  const content = meta.load();
  const leaves = new Set(content.volumes.flatMap((volume) => volume.leaves ?? []));
  // That one does not match its checksum is told when the pool is opened; here it is enough that the process lives.
  const read = (id) => { try { content.leaf(id); } catch {} };
  for (const id of leaves) if (id !== 0) read(id);
  await meta.close();`;

/** Throws ServiceError catalog-damaged unless the catalog of the data folder is whole, or this is its first start. */
export function checkCatalog(data: string): void {
  const folder = join(data, 'catalog');
  const size = statSync(join(folder, 'data.mdb'), { throwIfNoEntry: false })?.size ?? 0;
  if (size === 0) {
    // A new catalog would forget the disks, and with them who they are: every initiator would see a stranger.
    const pools = filesOf(join(data, 'pools')).length > 0;
    const disks = pools || filesOf(join(data, 'volumes')).some((name) => name.endsWith('.raw'));
    if (!disks && !filesOf(data).includes('secret.key')) return;
    const what = disks ? `there are disks in the folder ${pools ? 'pools' : 'volumes'}` : 'this data folder is not new';
    throw new ServiceError('catalog-damaged', `the catalog in ${folder} is missing, but ${what}`);
  }
  const why = trouble(PROGRAM, folder);
  if (why !== undefined) throw new ServiceError('catalog-damaged', `the catalog in ${folder} is damaged: ${why}`);
}

/** Throws ServiceError io-error unless the metadata of a pool (LmdbMeta) in `folder` can be read. */
export function checkPoolMeta(folder: string): void {
  if ((statSync(join(folder, 'data.mdb'), { throwIfNoEntry: false })?.size ?? 0) === 0) {
    throw new ServiceError('io-error', `its metadata in ${folder} is missing`);
  }
  const why = trouble(META_PROGRAM, folder);
  if (why !== undefined) throw new ServiceError('io-error', `its metadata in ${folder} is damaged: ${why}`);
}

/** Why the program, which reads everything in the folder, did not come to its end. */
function trouble(program: string, folder: string): string | undefined {
  const args = ['--input-type=module', '-e', program, folder];
  const { status, signal, error } = spawnSync(process.execPath, args, { stdio: 'ignore', timeout: PATIENCE });
  if (status === 0) return undefined;
  return error?.message ?? (signal === null ? 'a record cannot be read' : `reading it ends with ${signal}`);
}

function filesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
