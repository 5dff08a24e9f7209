// Pools and secrets of a host as they should be: made, changed, or taken away; looked at first, so that it may come again.
import { ServiceError } from '../../core/base/errors.ts';
import { isOurPool, poolIdentity, secretIdentity } from './identity.ts';
import type { Caller } from './libvirt.ts';
import { parsePool, poolXml, samePool } from './model/pool.ts';
import type { PoolModel } from './model/pool.ts';
import { secretXml } from './model/secret.ts';
import { LibvirtCode, isLibvirt } from './rpc/errors.ts';
import {
  poolActive,
  poolAutostart,
  poolByName,
  poolByUuid,
  poolDefine,
  poolDestroy,
  poolRefresh,
  poolSetAutostart,
  poolStart,
  poolUndefine,
  poolXml as poolXmlOf,
  secretByUsage,
  secretDefine,
  secretSetValue,
  secretUndefine,
} from './rpc/procedures.ts';
import { USAGE_ISCSI } from './rpc/types.ts';
import type { Pool, Secret } from './rpc/types.ts';

/** The pool a volume's target is to be shown by. */
export function wantedPool(target: string, portal: string, initiator: string, chapUser: string | undefined): PoolModel {
  const at = portal.lastIndexOf(':');
  const host = portal.slice(0, at).replace(/^\[(.*)\]$/, '$1');
  const { usage: secretUsage } = secretIdentity(initiator);
  const chap = chapUser === undefined ? undefined : { user: chapUser, secretUsage };
  return { ...poolIdentity(target), host, port: Number(portal.slice(at + 1)), target, initiator, chap };
}

/** A private secret with this value. Its value cannot be asked for, so it is set each time. */
export async function ensureSecret(libvirt: Caller, initiator: string, value: Uint8Array): Promise<void> {
  const wanted = secretIdentity(initiator);
  let found = await secretOf(libvirt, initiator);
  if (found !== undefined && found.uuid !== wanted.uuid) {
    throw new ServiceError('exists', `libvirt has a secret ${wanted.usage} that is not ours: ${found.uuid}`);
  }
  found ??= (await libvirt.call(secretDefine, { xml: secretXml(wanted), flags: 0 })).secret;
  await libvirt.call(secretSetValue, { secret: found, value, flags: 0 });
}

async function secretOf(libvirt: Caller, initiator: string): Promise<Secret | undefined> {
  const usageId = secretIdentity(initiator).usage;
  const asked = libvirt.call(secretByUsage, { usageType: USAGE_ISCSI, usageId });
  return (await orMissing(asked, LibvirtCode.noSecret))?.secret;
}

export async function removeSecret(libvirt: Caller, initiator: string): Promise<void> {
  const secret = await secretOf(libvirt, initiator);
  if (secret?.uuid !== secretIdentity(initiator).uuid) return;
  await orMissing(libvirt.call(secretUndefine, { secret }), LibvirtCode.noSecret);
}

/** The pool, defined as wanted, started with the host, and active; what it shows is looked up anew. */
export async function ensurePool(libvirt: Caller, wanted: PoolModel): Promise<Pool> {
  let pool = await findPool(libvirt, wanted);
  if (pool !== undefined) {
    const { xml } = await libvirt.call(poolXmlOf, { pool, flags: 0 });
    const model = parsePool(xml);
    if (model === undefined || !samePool(model, wanted)) {
      // libvirt takes a new definition while the pool is active, but goes on with the old one.
      await takeAway(libvirt, pool);
      pool = undefined;
    }
  }
  pool ??= (await libvirt.call(poolDefine, { xml: poolXml(wanted), flags: 0 })).pool;
  await startPool(libvirt, pool);
  return pool;
}

/** Autostarted, active and refreshed. */
export async function startPool(libvirt: Caller, pool: Pool): Promise<void> {
  const { autostart } = await libvirt.call(poolAutostart, { pool });
  if (autostart === 0) await libvirt.call(poolSetAutostart, { pool, autostart: 1 });
  const { active } = await libvirt.call(poolActive, { pool });
  // Starting looks it up as well.
  if (active === 0) await libvirt.call(poolStart, { pool, flags: 0 });
  else await libvirt.call(poolRefresh, { pool, flags: 0 });
}

/** By its UUID. Rejects with exists when its name is that of another pool. */
export async function findPool(
  libvirt: Caller,
  { name, uuid }: { readonly name: string; readonly uuid: string },
): Promise<Pool | undefined> {
  const ours = await orMissing(libvirt.call(poolByUuid, { uuid }), LibvirtCode.noPool);
  if (ours !== undefined) return ours.pool;
  const other = await orMissing(libvirt.call(poolByName, { name }), LibvirtCode.noPool);
  if (other === undefined) return undefined;
  throw new ServiceError('exists', `libvirt has a pool ${name} that is not ours: ${other.pool.uuid}`);
}

/** Takes away the pool of this target, if it is there and ours. */
export async function removePool(libvirt: Caller, target: string): Promise<void> {
  const { uuid } = poolIdentity(target);
  const found = await orMissing(libvirt.call(poolByUuid, { uuid }), LibvirtCode.noPool);
  if (found !== undefined && isOurPool(found.pool, target)) await takeAway(libvirt, found.pool);
}

/** Ends and forgets it; what it shows is untouched. */
export async function takeAway(libvirt: Caller, pool: Pool): Promise<void> {
  const { noPool, operationInvalid } = LibvirtCode;
  // operationInvalid: it is not active.
  await orMissing(libvirt.call(poolDestroy, { pool }), noPool, operationInvalid);
  await orMissing(libvirt.call(poolUndefine, { pool }), noPool);
}

/** undefined for errors with these numbers. */
export async function orMissing<T>(asked: Promise<T>, ...numbers: readonly number[]): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (isLibvirt(error, ...numbers)) return undefined;
    throw error;
  }
}
