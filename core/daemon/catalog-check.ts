// Is the catalog whole? LMDB maps its file into memory and believes it: a truncated or overwritten one does not fail, it
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
  const args = ['--input-type=module', '-e', PROGRAM, folder];
  const { status, signal, error } = spawnSync(process.execPath, args, { stdio: 'ignore', timeout: PATIENCE });
  if (status === 0) return;
  const why = error?.message ?? (signal === null ? 'a record cannot be read' : `reading it ends with ${signal}`);
  throw new ServiceError('catalog-damaged', `the catalog in ${folder} is damaged: ${why}`, { cause: error });
}

function filesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
