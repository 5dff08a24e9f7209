// Kills the real daemon while real sessions load it, starts it again, and compares everything with what it had promised.
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startDaemon } from '../support/daemon.ts';
import type { Daemon } from '../support/daemon.ts';
import { fill, withFileSystem } from '../support/file-system.ts';
import { Estate, POOL } from './daemon-estate.ts';
import type { Snapshot, VolumeView } from './daemon-estate.ts';
import { Host } from './daemon-load.ts';
import { Tokens } from './daemon-offload.ts';
import { DiskModel, Instant, Writes } from './daemon-model.ts';
import type { Rule } from './daemon-model.ts';
import { SECTOR, seeded } from './record.ts';
import type { Random } from './sim-disk.ts';

const MIB = 1_048_576;
const ARGS = ['--no-demo', '--cache-size', '24M'];
/** Bytes of the file system that fills up. */
const FULL = 192 * MIB;
/** Milliseconds of load before a kill, at least and at most. */
const LOAD = [150, 1500] as const;
/** Commands answered before a kill, and how long that may take in milliseconds. */
const LEAST = 100;
const SLOWEST = 20_000;
/** Milliseconds between operations of the administrator, at most. */
const IDLE = 120;
/** Milliseconds to the kill that is meant for an operation, at most: from its beginning or, every other time, from its end. */
const AIM = 40;
/** Milliseconds the daemon may take to end in an orderly way under load. */
const STOP_LIMIT = 12_000;
/** Snapshots looked at in each round. */
const LOOKS = 3;

export interface DaemonRounds {
  readonly seed: number;
  readonly rounds: number;
  /** Ends earlier at this time (Date.now()). */
  readonly until?: number;
  readonly progress?: (line: string) => void;
  /** Called in each round while everything is under way; the round fails with what it throws. */
  readonly underLoad?: () => void;
}

/** Removes what fills the file system. */
type Relief = () => void;

export interface DaemonResult {
  rounds: number;
  /** Commands answered with GOOD. */
  good: number;
  /** How often what was carried out by the administrator. */
  operations: ReadonlyMap<string, number>;
  /** Copies and tokens: what became of how many. */
  offloads: ReadonlyMap<string, number>;
  /** How the daemon ended, how often. */
  ends: Map<string, number>;
  /** The longest orderly stop, in milliseconds. */
  slowestStop: number;
}

export type End = 'any' | 'start' | 'stop' | 'snapshot' | 'drop' | 'clone' | 'delete' | 'grow' | 'rollback' | 'room';
const ENDS: readonly End[] = [
  ...(['any', 'any', 'any', 'start', 'start', 'stop', 'snapshot', 'drop', 'drop'] as const),
  ...(['clone', 'delete', 'grow', 'rollback', 'room'] as const),
];

/** Throws when something that was promised is not there. */
export async function daemonRounds(options: DaemonRounds): Promise<DaemonResult> {
  const { daemon, end } = await startDaemon({ args: ARGS });
  const campaign = new Campaign(daemon, options);
  const replay = `npm run crash -- --daemon --seed ${String(options.seed)} --kills ${String(options.rounds)}`;
  await reported(campaign, replay, end, async () => {
    await campaign.create();
    for (let round = 1; round <= options.rounds; round++) {
      if (options.until !== undefined && Date.now() > options.until) break;
      await campaign.round(round);
    }
    await daemon.stop();
  });
  return campaign.result;
}

/** The same on a file system that fills up. Undefined: this user may not mount one. */
export async function fullRounds(options: DaemonRounds): Promise<DaemonResult | undefined> {
  let result: DaemonResult | undefined;
  await withFileSystem(FULL, async (root) => {
    const { daemon, end } = await startDaemon({ args: ARGS, dataFolder: join(root, 'data') });
    const campaign = new Campaign(daemon, options, true);
    await reported(campaign, `full file system, seed ${String(options.seed)}`, end, async () => {
      await campaign.createSmall();
      for (let round = 1; round <= options.rounds; round++) {
        const other = join(root, 'other');
        const said = await campaign.roundOfFull(round, () => {
          fill(other);
          return () => {
            rmSync(other);
          };
        });
        options.progress?.(`${String(round)}: full file system, ${said}`);
      }
      await daemon.stop();
    });
    ({ result } = campaign);
  });
  return result;
}

/** Runs `body`; a failure says where it was and how to have it again. */
async function reported(
  campaign: Campaign,
  replay: string,
  end: () => Promise<void>,
  body: () => Promise<void>,
): Promise<void> {
  try {
    await body();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const output = outputOf(campaign.estate.daemon);
    const operations = campaign.estate.journal.slice(-20);
    const list = operations.map(({ what, from, to }) => `${what} ${String(from)}-${String(to)}`).join(', ');
    const text = `${campaign.where}: ${message}\n${replay}\nlast operations: ${list}`;
    throw new Error(`${text}\n--- daemon ---\n${output}`, { cause: error });
  } finally {
    // After a failure hosts and administrator would go on trying for ever.
    campaign.abandon();
    await end();
    await campaign.over();
  }
}

/** Its last lines, without the token. */
const outputOf = (daemon: Daemon): string => daemon.output.slice(-4000).replaceAll(/gemel\.[\w-]+\.[\w-]+/g, '***');

class Campaign {
  readonly estate: Estate;
  readonly result: DaemonResult;
  where = 'at the beginning';
  readonly #random: Random;
  readonly #progress: (line: string) => void;
  readonly #underLoad: () => void;
  readonly #daemon: Daemon;
  #failure: { error: unknown } | undefined;
  /** How long a start takes, in milliseconds. */
  #startTime = 1000;
  #copies = 0;

  constructor(daemon: Daemon, { seed, progress, underLoad }: DaemonRounds, mayBeFull = false) {
    this.#daemon = daemon;
    this.#random = seeded(seed);
    this.#progress = progress ?? ((): void => undefined);
    this.#underLoad = underLoad ?? ((): void => undefined);
    this.estate = new Estate(daemon, {
      writes: new Writes(),
      random: seeded(seed ^ 0x5eed),
      mayBeFull,
      counts: { good: 0, refused: 0 },
      tokens: new Tokens(),
      fail: (error) => (this.#failure ??= { error }),
    });
    this.result = {
      rounds: 0,
      good: 0,
      operations: this.estate.done,
      offloads: this.estate.facts.tokens.done,
      ends: new Map(),
      slowestStop: 0,
    };
  }

  /** A few disks that share a small file system. */
  async createSmall(): Promise<void> {
    const { estate } = this;
    // A copy that is left to the host would not be tried.
    await estate.call('PUT', '/copy-route', { policy: 'always' });
    await estate.call('POST', '/pools', { name: POOL, size: 256 * MIB });
    await estate.createDisk('p0', 72 * MIB, { pool: POOL });
    await estate.createDisk('p1', 16 * MIB, { pool: POOL, durability: 'volatile' });
    await estate.createDisk('f0', 72 * MIB, { kind: 'file' });
    await estate.connect();
  }

  async create(): Promise<void> {
    const { estate } = this;
    // A copy that is left to the host would not be tried.
    await estate.call('PUT', '/copy-route', { policy: 'always' });
    await estate.call('POST', '/pools', { name: POOL, size: 256 * MIB });
    await estate.createDisk('p0', 72 * MIB, { pool: POOL });
    await estate.createDisk('p1', 6 * MIB, { pool: POOL, thin: false });
    await estate.createDisk('p2', 6 * MIB, { pool: POOL, durability: 'volatile' });
    await estate.createDisk('f0', 6 * MIB, { kind: 'file' });
    await estate.createDisk('f1', 4 * MIB, { kind: 'file', durability: 'volatile' });
    await estate.connect();
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async round(number: number): Promise<void> {
    const kind = ENDS[Math.floor(this.#random() * ENDS.length)] ?? 'any';
    this.where = `round ${String(number)}, ended by '${kind}'`;
    const { estate, result } = this;
    const before = this.#good();
    for (const host of estate.hosts.values()) host.start();
    // There has to be something to go back to.
    if (kind === 'rollback') await estate.operation('snapshot');
    this.#administrator = this.#administrate();
    const [least, most] = LOAD;
    await sleep(least + this.#random() * (most - least));
    await this.#loaded(before);
    this.#underLoad();
    this.#check();
    const ended = await this.#end(kind);
    await Promise.all([...estate.hosts.values()].map((host) => host.over()));
    this.#administrating = false;
    await this.#administrator;
    this.#check();
    const good = this.#good() - before;
    if (kind === 'start' || this.#random() < 0.25) await this.#killStarts(kind === 'start' ? 2 : 1);
    const began = performance.now();
    await this.#daemon.start();
    this.#startTime = performance.now() - began;
    estate.born();
    estate.facts.tokens.again();
    await this.#verify(kind === 'stop' ? 'live' : 'crash');
    result.rounds++;
    result.good += good;
    result.ends.set(kind, (result.ends.get(kind) ?? 0) + 1);
    this.#progress(
      `${String(number)}: ${kind}${ended}, ${String(good)} commands, start ${String(Math.round(this.#startTime))} ms, ` +
        `${String(estate.hosts.size)} disks, ${String(estate.snapshots.size)} snapshots`,
    );
  }

  /** The file system fills up under load; then the daemon is killed, starts on the full one, and again when there is room. */
  async roundOfFull(number: number, fillUp: () => Relief): Promise<string> {
    this.where = `round ${String(number)} on a full file system`;
    const { estate } = this;
    for (const host of estate.hosts.values()) host.start();
    this.#administrator = this.#administrate();
    const before = this.#good();
    await sleep(100 + this.#random() * 300);
    await this.#loaded(before);
    const relief = fillUp();
    await sleep(200 + this.#random() * 1500);
    this.#check();
    this.abandon();
    await this.#daemon.crash();
    await Promise.all([...estate.hosts.values()].map((host) => host.over()));
    await this.#administrator;
    this.#check();
    // It starts, whatever it can serve.
    await this.#daemon.start();
    await this.#daemon.crash();
    relief();
    await this.#daemon.start();
    estate.born();
    await this.#verify('crash');
    this.result.rounds++;
    this.result.good = this.#good();
    return `${String(this.result.good)} commands, ${String(estate.facts.counts.refused)} refused`;
  }

  /** Waits until there was some load since there were `before` commands: a slow machine gets the time it needs. */
  async #loaded(before: number): Promise<void> {
    for (const end = Date.now() + SLOWEST; this.#good() < before + LEAST && Date.now() < end;) {
      this.#check();
      await sleep(10);
    }
  }

  #good(): number {
    return this.estate.facts.counts.good;
  }

  #administrating = false;
  #administrator: Promise<void> = Promise.resolve();
  #busy: Promise<void> = Promise.resolve();

  async #administrate(): Promise<void> {
    this.#administrating = true;
    while (this.#administrating) {
      await sleep(this.#random() * IDLE);
      // Read anew: it is changed while we sleep.
      if (!this.#isOn()) return;
      this.#busy = this.estate.operate();
      await this.#busy.catch((error: unknown) => (this.#failure ??= { error }));
    }
  }

  /** Nobody begins anything new, and nothing the daemon does is a surprise any more. */
  abandon(): void {
    this.#administrating = false;
    this.estate.dying();
  }

  /** Resolves when nothing is under way any more. The daemon is gone. */
  async over(): Promise<void> {
    await this.#administrator;
    await Promise.all([...this.estate.hosts.values()].map((host) => host.disconnect()));
  }

  #isOn(): boolean {
    return this.#administrating;
  }

  /** Ends the daemon in one of many ways. Returns what there is to say about it. */
  async #end(kind: End): Promise<string> {
    const { estate } = this;
    if (kind === 'stop') {
      this.#administrating = false;
      estate.dying();
      const began = performance.now();
      await this.#daemon.stop();
      const took = performance.now() - began;
      assert.ok(took < STOP_LIMIT, `the orderly stop took ${String(Math.round(took))} ms`);
      this.result.slowestStop = Math.max(this.result.slowestStop, took);
      return ` in ${String(Math.round(took))} ms`;
    }
    let operation = Promise.resolve();
    if (kind !== 'any' && kind !== 'start') {
      this.#administrating = false;
      await this.#busy.catch(() => undefined);
      operation = estate.operation(kind);
      operation.catch((error: unknown) => (this.#failure ??= { error }));
      if (this.#random() < 0.5) await operation.catch(() => undefined);
      await sleep(this.#random() * AIM);
    }
    estate.dying();
    await this.#daemon.crash();
    await operation.catch(() => undefined);
    return '';
  }

  /** Starts it and kills it before it is ready, or soon after. */
  async #killStarts(times: number): Promise<void> {
    for (let i = 0; i < times; i++) {
      const starting = this.#daemon.start().catch(() => undefined);
      // The first half is the launcher, most of the time.
      await sleep((0.3 + this.#random() * 0.8) * this.#startTime);
      await this.#daemon.crash();
      await starting;
    }
  }

  async #verify(rule: Rule): Promise<void> {
    const { estate } = this;
    await estate.settle('after the start');
    await estate.connect();
    const when = `after ${this.where}`;
    await Promise.all([...estate.hosts.values()].map((host) => host.verify(rule, when)));
    await estate.check();
    await estate.startScrub();
    await this.#verifySnapshots(when);
    await this.#scrubbed();
    this.#check();
  }

  async #scrubbed(): Promise<void> {
    for (;;) {
      const { scrub } = (await this.estate.call('GET', `/pools/${POOL}`)) as {
        scrub: { state: string; damaged: unknown[] };
      };
      assert.deepEqual(scrub.damaged, [], 'scrub');
      if (scrub.state === 'done') return;
      assert.equal(scrub.state, 'running');
      await sleep(20);
    }
  }

  /** Snapshots of one instant together. */
  async #verifySnapshots(when: string): Promise<void> {
    const groups = [...new Set([...this.estate.snapshots.values()].map(({ group }) => group))];
    // The latest ones are those that may have been interrupted.
    for (const group of groups.slice(-LOOKS)) {
      const instant = new Instant();
      const members = [...this.estate.snapshots.values()].filter((each) => each.group === group);
      for (const snapshot of members) await this.#verifySnapshot(snapshot, instant, when);
      instant.check(`${when}: snapshots ${members.map((each) => `${each.volume}@${each.name}`).join(', ')}`);
    }
  }

  /** Through a clone: a snapshot is no LUN. */
  async #verifySnapshot(snapshot: Snapshot, instant: Instant, when: string): Promise<void> {
    const { estate } = this;
    const name = `v${String(++this.#copies)}`;
    const maps = [{ initiator: 'loopback', access: 'read-only' }];
    const body = { name, snapshot: snapshot.name, maps };
    const view = (await estate.call('POST', `/volumes/${snapshot.volume}/clone`, body)) as VolumeView;
    const what = `${when}: snapshot ${snapshot.volume}@${snapshot.name}`;
    assert.equal(view.size, snapshot.sectors * SECTOR, `${what}: size`);
    const model = new DiskModel(estate.facts.writes, name, 0, snapshot.sectors, false);
    const host = new Host(model, view.iqn, view.thin, estate.facts);
    await host.connect(this.#daemon.portals[0] ?? '');
    const { content } = snapshot;
    snapshot.content = await host.readAll((sector) => content.get(sector), what, instant);
    await host.disconnect();
    await estate.call('DELETE', `/volumes/${name}?force=true&purge=true`);
  }
}
