// The thread that sends the beacons of a node. It has connections of its own to the other nodes, and nothing else to do: neither a
// long turn of the loop that serves, nor a collection of its garbage, keeps a beacon from leaving in time.
import { hrtime } from 'node:process';
import { parentPort, workerData } from 'node:worker_threads';
import { BEACON_INTERVAL, LEASE_TIME } from '../../base/limits.ts';
import type { Log, LogFields } from '../../base/log.ts';
import { PeerChannel } from '../../mirror/link/channel.ts';
import { LinkMessage, fields } from '../../mirror/link/hello.ts';
import type { LocalNode, PeerAddress } from '../../mirror/link/peers.ts';
import { nodeWorld } from '../../world/node-world.ts';

export interface BeaconSetup {
  readonly self: LocalNode;
  /** When the loop that serves has shown life last, by hrtime, nanoseconds. */
  readonly life: BigInt64Array;
  /** The clock of that loop, milliseconds, at a moment by hrtime. */
  readonly clock: { readonly now: number; readonly at: bigint };
  /** Milliseconds; LOOP_LIFE. */
  readonly lifetime: number;
}

/** What the thread is told. */
export type BeaconOrder =
  | { readonly do: 'add'; readonly peer: PeerAddress }
  | { readonly do: 'remove'; readonly node: string }
  | { readonly do: 'reset'; readonly node: string; readonly reason: string };

/** What it tells. Times are milliseconds of the clock of the loop that serves. */
export type BeaconNews =
  | {
      readonly is: 'answer';
      readonly node: string;
      readonly sentAt: number;
      readonly at: number;
      readonly boot: unknown;
    }
  | { readonly is: 'link'; readonly node: string; readonly up: boolean }
  | {
      readonly is: 'log';
      readonly level: 'debug' | 'info' | 'warn' | 'error';
      readonly fields: LogFields;
      readonly text: string;
    };

const MILLION = 1e6;

function run(setup: BeaconSetup, port: NonNullable<typeof parentPort>): Promise<void> {
  const { self, life, clock, lifetime } = setup;
  const tell = (news: BeaconNews): void => {
    port.postMessage(news);
  };
  const told =
    (level: 'debug' | 'info' | 'warn' | 'error') =>
    (found: LogFields, text: string): void => {
      tell({ is: 'log', level, fields: found, text });
    };
  const log: Log = {
    ...{ debug: told('debug'), info: told('info'), warn: told('warn'), error: told('error') },
    child: () => log,
  };
  const now = (): number => clock.now + Number(hrtime.bigint() - clock.at) / MILLION;
  const isAlive = (): boolean => Number(hrtime.bigint() - Atomics.load(life, 0)) / MILLION <= lifetime;
  return nodeWorld().then((world) => {
    const channels = new Map<string, PeerChannel>();
    const send = (node: string, channel: PeerChannel): void => {
      if (!channel.up) return;
      const sentAt = now();
      const header = Buffer.from(JSON.stringify({ clock: sentAt }));
      channel.request(LinkMessage.beacon, header, [], LEASE_TIME).then(
        (reply) => {
          tell({ is: 'answer', node, sentAt, at: now(), boot: fields(reply.header)['boot'] });
        },
        () => undefined,
      );
    };
    const close = (node: string): void => {
      channels.get(node)?.close();
      channels.delete(node);
    };
    const add = (peer: PeerAddress): void => {
      const { node } = peer;
      close(node);
      const channel = new PeerChannel(world, log, self, peer, 'beacon');
      channel.onUp.push(() => {
        tell({ is: 'link', node, up: true });
        if (isAlive()) send(node, channel);
      });
      channel.onDown.push(() => {
        tell({ is: 'link', node, up: false });
      });
      channels.set(node, channel);
      channel.open();
    };
    const beat = (): void => {
      world.clock.after(BEACON_INTERVAL, beat);
      if (isAlive()) for (const [node, channel] of channels) send(node, channel);
    };
    port.on('message', (order: BeaconOrder) => {
      if (order.do === 'add') add(order.peer);
      else if (order.do === 'remove') close(order.node);
      else channels.get(order.node)?.reset(order.reason);
    });
    beat();
  });
}

if (parentPort !== null) await run(workerData as BeaconSetup, parentPort);
