// The side of the loop that serves of the thread that sends its beacons (beacon-worker).
import { performance } from 'node:perf_hooks';
import { hrtime } from 'node:process';
import { Worker } from 'node:worker_threads';
import { BEACON_THREAD_RETRY, LOOP_LIFE } from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import type { TlsIdentity } from '../../base/world.ts';
import type { BeaconThread } from '../../mirror/lease.ts';
import { LINK_VERSIONS } from '../../mirror/link/versions.ts';
import type { PeerAddress } from '../../mirror/link/peers.ts';
import type { BeaconNews, BeaconOrder, BeaconSetup } from './beacon-worker.ts';

export interface NodeBeaconsOptions {
  readonly cluster: string;
  readonly node: string;
  readonly boot: string;
  readonly tls: TlsIdentity | undefined;
  readonly log: Log;
  /** Milliseconds; LOOP_LIFE when absent. */
  readonly lifetime?: number;
}

export class NodeBeacons implements BeaconThread {
  onAnswer: BeaconThread['onAnswer'] = () => undefined;
  readonly #options: NodeBeaconsOptions;
  readonly #life = new BigInt64Array(new SharedArrayBuffer(BigInt64Array.BYTES_PER_ELEMENT));
  readonly #peers = new Map<string, PeerAddress>();
  readonly #up = new Set<string>();
  #worker: Worker | undefined;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: NodeBeaconsOptions) {
    this.#options = options;
    this.showLife();
    this.#start();
  }

  add(peer: PeerAddress): void {
    this.#peers.set(peer.node, peer);
    this.#order({ do: 'add', peer });
  }

  remove(node: string): void {
    this.#peers.delete(node);
    this.#up.delete(node);
    this.#order({ do: 'remove', node });
  }

  isUp(node: string): boolean {
    return this.#up.has(node);
  }

  reset(node: string, reason: string): void {
    this.#order({ do: 'reset', node, reason });
  }

  showLife(): void {
    Atomics.store(this.#life, 0, hrtime.bigint());
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    await this.#worker?.terminate();
  }

  #order(order: BeaconOrder): void {
    this.#worker?.postMessage(order);
  }

  #start(): void {
    const { cluster, node, boot, tls, lifetime = LOOP_LIFE } = this.#options;
    const identity = tls === undefined ? undefined : { ca: tls.ca, cert: tls.cert, key: tls.key };
    // Read in this order a beacon counts as sent a little too early, never too late.
    const clock = { now: performance.now(), at: hrtime.bigint() };
    const self = { cluster, node, boot, versions: LINK_VERSIONS, tls: identity };
    const setup: BeaconSetup = { self, life: this.#life, clock, lifetime };
    const worker = new Worker(new URL('./beacon-worker.js', import.meta.url), { workerData: setup });
    this.#worker = worker;
    worker.unref();
    worker.on('message', (news: BeaconNews) => {
      if (this.#worker === worker) this.#hear(news);
    });
    // Without beacons every lease runs out: it must not stay like that.
    const failed = (why: string): void => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      this.#up.clear();
      if (this.#closed) return;
      this.#options.log.error({ why }, 'the thread that sends beacons has ended; please report');
      this.#retry = setTimeout(() => {
        this.#start();
      }, BEACON_THREAD_RETRY);
    };
    worker.on('error', (error) => {
      failed(error.message);
    });
    worker.on('exit', (code) => {
      failed(`exit code ${String(code)}`);
    });
    for (const peer of this.#peers.values()) this.#order({ do: 'add', peer });
  }

  #hear(news: BeaconNews): void {
    if (news.is === 'answer') this.onAnswer(news.node, news.sentAt, news.at, news.boot);
    else if (news.is === 'log') this.#options.log[news.level](news.fields, news.text);
    else if (news.up) this.#up.add(news.node);
    else this.#up.delete(news.node);
  }
}
