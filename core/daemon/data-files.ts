// The small files of the data folder besides the catalog: keys, token, and where the daemon can be reached.
import { join } from 'node:path';
import { chmod } from 'node:fs/promises';
import { RUN_FILE, TOKEN_FILE } from '../base/data-folder.ts';
import { ServiceError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { World } from '../base/world.ts';
import type { Catalog } from '../control/catalog.ts';
import { SECRET_KEY_LENGTH, SecretBox } from '../control/secret-box.ts';
import { Tokens } from '../control/tokens.ts';
import { SEAL_KEY } from '../../odx/token.ts';

/** Makes the data folder, for its owner only. Throws ServiceError folder-unusable. */
export async function prepareFolder(world: World, folder: string): Promise<void> {
  try {
    const isNew = !(await world.disk.exists(folder));
    // Refuses what is there and is not a folder.
    await world.disk.makeFolder(folder);
    if (isNew) await chmod(folder, 0o700);
  } catch (error) {
    throw new ServiceError('folder-unusable', `the data folder cannot be used: ${messageOf(error)}`, { cause: error });
  }
}

/** The key of the secrets in the catalog; made at the first start. Throws ServiceError folder-unusable. */
export async function secretBox(world: World, folder: string, catalog: Catalog): Promise<SecretBox> {
  const path = join(folder, 'secret.key');
  let key = await world.disk.readFile(path);
  if (key === undefined) {
    // A new key would make the secrets unreadable for good, even if the old one is found again.
    const known = [...catalog.initiators.values(), ...catalog.hosts.values()];
    const chap = known.some((each) => each.chap !== undefined);
    const alerts = catalog.alertTargets.values().some((each) => each.secret !== undefined);
    if (chap || alerts || catalog.apiAuthority.size > 0)
      throw new ServiceError('folder-unusable', `${path} is missing, and there are secrets it has to open`);
    key = world.random.bytes(SECRET_KEY_LENGTH);
    await world.disk.replaceFile(path, key, 0o600);
  }
  if (key.length !== SECRET_KEY_LENGTH) throw new ServiceError('folder-unusable', `${path} is damaged`);
  return new SecretBox(key, world.random);
}

/** The key that tells tokens of copies of this node from forged ones; made at the first start. Throws ServiceError. */
export async function copyTokenKey(world: World, folder: string): Promise<Buffer> {
  const path = join(folder, 'copy-token.key');
  const kept = await world.disk.readFile(path);
  // Without it only copies that are under way right now have to begin again.
  if (kept?.length === SEAL_KEY) return kept;
  const key = world.random.bytes(SEAL_KEY);
  await world.disk.replaceFile(path, key, 0o600);
  return key;
}

/** The token of this data folder's owner: the one in the file if it is still good, else a new one. */
export async function ownerToken(world: World, folder: string, tokens: Tokens, fingerprint: string): Promise<string> {
  await tokens.settle();
  const path = join(folder, TOKEN_FILE);
  const kept = (await world.disk.readFile(path))?.toString().trim();
  if (kept !== undefined && tokens.check(kept) !== undefined && Tokens.fingerprintOf(kept) === fingerprint) return kept;
  const token = await tokens.issue('owner', 'admin', fingerprint);
  await world.disk.replaceFile(path, Buffer.from(`${token}\n`), 0o600);
  return token;
}

/**
 * Tells the client on this machine where the daemon is. No secret: the token is in its own file. On a full disk the daemon
 * starts without: it is needed to delete something, and can be reached with --api.
 */
export async function writeRunFile(
  world: World,
  folder: string,
  log: Log,
  facts: { api: string; portals: string[] },
): Promise<void> {
  const content = Buffer.from(`${JSON.stringify({ pid: process.pid, ...facts })}\n`);
  try {
    await world.disk.replaceFile(join(folder, RUN_FILE), content, 0o644);
  } catch (error) {
    if (!(error instanceof ServiceError) || error.code !== 'no-space') throw error;
    const message = 'the data folder is full: gemel needs --api to find this daemon, and writes to thin disks fail';
    log.warn({ folder, api: facts.api }, message);
  }
}

export async function removeRunFile(world: World, folder: string): Promise<void> {
  await world.disk.remove(join(folder, RUN_FILE));
}
