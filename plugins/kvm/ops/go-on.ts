// What a process of this host had begun and was ended in the middle of: it is finished, or taken back, and told to the daemon.
import { ServiceError, messageOf } from '../../../core/base/errors.ts';
import type { ApiCall } from '../../sdk/typed-api.ts';
import { provisionDisk, withdrawDisk } from '../provisioning.ts';
import { leftFolder, leftIn } from '../reports.ts';
import { attachDisk, detachDisk } from './attach.ts';
import { cloneDomain } from './clone.ts';
import type { OpsContext } from './context.ts';
import { growDisk } from './grow.ts';
import { exportDisk, importDisk } from './move.ts';
import { rollBackDomain, snapshotDomain } from './snapshot.ts';

/**
 * Milliseconds after which nobody goes on with what was left: the daemon forgets keys of requests then (KEY_LIFETIME), so that it would do
 * again what was done; and whoever has used machine or disk since would lose that by a rollback, or a detach, of days ago.
 */
export const LEFT_TOO_LONG = 86_400_000;

type Arguments<F extends (...args: never[]) => unknown> = Parameters<F>[1];
type Again = (context: OpsContext, args: never, key: string, call: ApiCall) => Promise<unknown>;

/** By what was asked (Asked.what), with the arguments as they were kept. */
const AGAIN: Readonly<Record<string, Again>> = {
  provision: (context, args: Parameters<typeof provisionDisk>[0], key, call) =>
    provisionDisk(args, context.libvirt, context.settings, call, key, context.reports),
  withdraw: (context, { name }: { name: string }, key, call) =>
    withdrawDisk(name, context.libvirt, context.settings, call, key, context.reports),
  attach: (context, args: Arguments<typeof attachDisk>, key) => attachDisk(context, args, key),
  detach: (context, args: Arguments<typeof detachDisk>, key) => detachDisk(context, args, key),
  grow: (context, { volume, size }: { volume: string; size: number }, key) => growDisk(context, volume, size, key),
  snapshot: (context, { domain, snapshot }: { domain: string; snapshot: string }, key) =>
    snapshotDomain(context, domain, snapshot, key),
  rollback: (context, { domain, snapshot }: { domain: string; snapshot: string }, key) =>
    rollBackDomain(context, domain, snapshot, key),
  clone: (context, args: Arguments<typeof cloneDomain>, key) => cloneDomain(context, args, key),
  import: (context, args: Arguments<typeof importDisk>, key) => importDisk(context, args, key),
  export: (context, args: Arguments<typeof exportDisk>, key) => exportDisk(context, args, key),
};

/** Goes on with everything nobody is at. Never rejects. */
export async function goOnWithLeft(
  context: OpsContext,
  call: ApiCall,
  log: (text: string) => void,
  now: () => number = Date.now,
): Promise<void> {
  for (const left of leftIn(leftFolder(context.settings.state))) {
    const { id, key, what, args, title, last, alive } = left;
    const again = AGAIN[what];
    try {
      if (last !== undefined) {
        await context.reports?.tellLast(left);
        continue;
      }
      if (again === undefined || now() - alive > LEFT_TOO_LONG) {
        const why =
          again === undefined
            ? `this version does not know '${what}'`
            : `it was left in the middle at ${new Date(alive).toISOString()}, too long ago to go on with: look at it; --key ${key} goes on`;
        await context.reports?.giveUp(left, why);
        log(`${title} (job ${id}): ${why}`);
        continue;
      }
      await again(context, args as never, key, call);
      await context.reports?.settled();
      log(`${title} (job ${id}) was left in the middle: done`);
    } catch (error) {
      await context.reports?.settled();
      // Somebody is at it.
      if (error instanceof ServiceError && error.code === 'in-use' && error.message.includes(id)) continue;
      log(`${title} (job ${id}) was left in the middle: ${messageOf(error)}`);
    }
  }
}
