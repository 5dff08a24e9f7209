// What an import or an export does to the daemon and takes back: a one-time initiator with credentials nobody else knows.
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { ServiceError, messageOf } from '../base/errors.ts';
import { PORTAL_PATIENCE } from '../base/limits.ts';
import type { Disk } from './answers.ts';
import type { ApiClient } from '../../plugins/sdk/client.ts';
import { segment } from './command.ts';
import { interrupted } from './qemu-img.ts';
import type { IscsiLun } from './qemu-img.ts';

/** What has been done so far, to be taken back in reverse order. */
export class Undo {
  readonly #steps: { readonly what: string; readonly run: () => Promise<unknown> }[] = [];

  /** `what` names the thing that is left when `run` fails. A thing that is not there (any more) is no failure. */
  add(what: string, run: () => Promise<unknown>): void {
    this.#steps.push({ what, run });
  }

  /** Takes everything back. Returns what is left and why. */
  async run(): Promise<string[]> {
    const left: string[] = [];
    for (const { what, run } of this.#steps.splice(0).reverse()) {
      try {
        await run();
      } catch (error) {
        if (error instanceof ServiceError && error.code === 'not-found') continue;
        left.push(`${what} (${messageOf(error)})`);
      }
    }
    return left;
  }
}

/**
 * Runs `body`. When it fails, or the user interrupts it (Ctrl-C, SIGTERM, SIGHUP), takes back what it has added to `undo`
 * and says so in the error. A second Ctrl-C does not wait for that.
 */
export async function undoing<T>(body: (undo: Undo, signal: AbortSignal) => Promise<T>): Promise<T> {
  const undo = new Undo();
  const abort = new AbortController();
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const onSignal = (): void => {
    if (abort.signal.aborted) process.exit(130);
    abort.abort();
  };
  for (const each of signals) process.on(each, onSignal);
  try {
    return await body(undo, abort.signal);
  } catch (error) {
    const left = await undo.run();
    const known = error instanceof ServiceError ? error : new ServiceError('internal', messageOf(error));
    const rest = left.length === 0 ? 'everything is as before' : `still there: ${left.join('; ')}`;
    throw new ServiceError(known.code, `${known.message}; ${rest}`, { cause: error });
  } finally {
    for (const each of signals) process.off(each, onSignal);
  }
}

/** Throws once the user has interrupted. */
export function goOn(signal: AbortSignal): void {
  if (signal.aborted) throw interrupted();
}

export interface OneTimeInitiator {
  readonly initiator: string;
  readonly user: string;
  readonly secret: string;
}

/** Makes an initiator known that is used once; `undo` forgets it. Needs the role admin. */
export async function oneTimeInitiator(client: ApiClient, undo: Undo): Promise<OneTimeInitiator> {
  const id = randomBytes(8).toString('hex');
  const made = {
    initiator: `iqn.2026-11.org.gemel:image-copy-${id}`,
    user: `image-copy-${id}`,
    // 256 bits in printable characters.
    secret: randomBytes(32).toString('base64url'),
  };
  const path = `/initiators/${segment(made.initiator)}`;
  undo.add(`initiator ${made.initiator}`, () => client.call('DELETE', path));
  await client.call('PUT', path, { chap: { user: made.user, secret: made.secret } });
  return made;
}

/** The LUN of `disk` for the initiator, on the first portal that can be reached from here. */
export async function lunOf(disk: Disk, who: OneTimeInitiator, signal: AbortSignal): Promise<IscsiLun> {
  const tried: string[] = [];
  for (const url of disk.urls) {
    const portal = url.slice('iscsi://'.length).split('/')[0] ?? '';
    goOn(signal);
    if (await accepts(portal)) return { portal, iqn: disk.iqn, lun: disk.lun, ...who };
    tried.push(portal);
  }
  throw new ServiceError('daemon-unreachable', `no portal can be reached from here (${tried.join(', ')})`);
}

function accepts(portal: string): Promise<boolean> {
  const at = portal.lastIndexOf(':');
  const host = portal.slice(0, at).replace(/^\[(.*)\]$/, '$1');
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(portal.slice(at + 1)), timeout: PORTAL_PATIENCE });
    const end = (reached: boolean) => (): void => {
      socket.destroy();
      resolve(reached);
    };
    socket.once('connect', end(true)).once('timeout', end(false)).once('error', end(false));
  });
}
