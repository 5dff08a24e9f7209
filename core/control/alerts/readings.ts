// Looks at pools, disks, hosts and the certificate; keeps of earlier looks what rates and lost paths need.
import {
  ALERT_FULL_SAMPLES,
  ALERT_FULL_SPAN,
  ALERT_INTERVAL,
  ALERT_MIN_COMMANDS,
  ALERT_PATH_MEMORY,
  DEFAULT_THRESHOLD,
} from '../../base/limits.ts';
import { formatSize } from '../../base/sizes.ts';
import type { Log } from '../../base/log.ts';
import type { Clock } from '../../base/world.ts';
import { GRAIN } from '../../volume/grain.ts';
import type { Catalog } from '../catalog.ts';
import { Observations } from '../observations.ts';
import type { Sample } from '../observations.ts';
import type { PoolManager } from '../pools.ts';
import type { SessionSource } from '../sessions.ts';
import type { Units } from '../units.ts';
import { EVERYBODY, GROUP_PREFIX, HOST_PREFIX, LOOPBACK } from '../records.ts';
import type { VolumeRecord } from '../records.ts';
import type { Reading } from './rules.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

export interface Watched {
  readonly catalog: Catalog;
  readonly pools: PoolManager;
  readonly units: Units;
  readonly server: () => SessionSource | undefined;
  /** False: other nodes of the cluster have it, and this one has not. */
  readonly holds?: (record: VolumeRecord) => boolean;
  /** When the certificate of the API ends, milliseconds since 1970; undefined: nobody knows. */
  readonly certificateEnd: () => number | undefined;
}

export class Readings {
  readonly #watched: Watched;
  readonly #clock: Clock;
  /** Fill levels of the last hours, by pool. */
  readonly #levels: Map<string, Sample[]>;
  /** Sums of the counters at the last look, by id of the volume. */
  readonly #counted = new Map<string, { count: number; sum: number }>();
  /** The most sessions an initiator had, and when it had so many last. */
  readonly #paths = new Map<string, { most: number; at: number }>();

  readonly #kept: { readonly levels: Observations; readonly paths: Observations };

  /** Knows what earlier lives of the daemon have seen. */
  constructor(watched: Watched, clock: Clock, log: Log) {
    this.#watched = watched;
    this.#clock = clock;
    const kept = (id: string): Observations => new Observations(watched.catalog, clock, log, id);
    this.#kept = { levels: kept('alert-levels'), paths: kept('alert-paths') };
    this.#levels = this.#kept.levels.load(ALERT_INTERVAL * ALERT_FULL_SAMPLES);
    for (const [iqn, [sample]] of this.#kept.paths.load(ALERT_PATH_MEMORY)) {
      if (sample !== undefined) this.#paths.set(iqn, { most: sample.value, at: sample.at });
    }
  }

  /** Keeps what a restart must not forget. */
  async save(): Promise<void> {
    await this.#kept.levels.save(this.#levels);
    const paths = [...this.#paths].map(([iqn, { most, at }]) => [iqn, [{ at, value: most }]] as const);
    await this.#kept.paths.save(new Map(paths));
  }

  take(): Reading[] {
    return [...this.#pools(), ...this.#volumes(), ...this.#hosts(), ...this.#certificate()];
  }

  #pools(): Reading[] {
    const { catalog, pools } = this.#watched;
    for (const name of this.#levels.keys()) if (catalog.pools.get(name) === undefined) this.#levels.delete(name);
    return catalog.pools.values().flatMap((record) => {
      const { name, threshold = DEFAULT_THRESHOLD } = record;
      if (record.state !== 'ready') return [];
      const object = { kind: 'pool', name };
      const closed = pools.problem(name);
      const pool = closed === undefined ? pools.pool(name) : undefined;
      const problem = closed ?? pool?.trouble?.message;
      const failed: Reading = {
        rule: 'pool-failed',
        object,
        value: problem === undefined ? 0 : 1,
        text: `pool ${name} cannot be used: ${problem ?? ''}`,
      };
      if (pool === undefined) return [failed];
      const { taken, total } = pool.allocator;
      const percent = (taken / total) * 100;
      const left = `${formatSize((total - taken) * GRAIN)} of ${formatSize(total * GRAIN)} left`;
      const full = `pool ${name} is ${percent.toFixed(0)} % full, ${left}: delete something in it or grow it`;
      const hours = this.#hoursToFull(name, taken, total);
      const journal = (pool.journal.usedBytes / pool.journalBytes) * 100;
      const scrubbed = pools.jobs(name).scrub()?.damaged.length ?? 0;
      const damaged = pool.damagedBlocks + scrubbed;
      return [
        failed,
        { rule: 'pool-filling', object, value: percent, limit: threshold, text: full },
        { rule: 'pool-full', object, value: percent, text: full },
        {
          rule: 'pool-time-to-full',
          object,
          value: hours,
          text: `pool ${name} is full in about ${String(Math.round(hours))} hours if it goes on like this; ${left}`,
        },
        {
          rule: 'journal-filling',
          object,
          value: journal,
          text: `the journal of pool ${name} is ${journal.toFixed(0)} % full: its disks are slower than what is written`,
        },
        {
          rule: 'checksum-error',
          object,
          value: damaged,
          text: `pool ${name} has data that does not match its checksum (${String(damaged)} times): gemel pool show ${name}`,
        },
      ];
    });
  }

  /** Hours until nothing is free at the speed of the last hours; infinite when it does not fill. */
  #hoursToFull(pool: string, taken: number, total: number): number {
    const now = this.#clock.now();
    const all = [...(this.#levels.get(pool) ?? []), { at: now, value: taken }].slice(-ALERT_FULL_SAMPLES);
    this.#levels.set(pool, all);
    const first = all[0];
    // A copy that runs for some minutes says nothing about tomorrow.
    if (first === undefined || now - first.at < ALERT_FULL_SPAN || taken <= first.value) return Infinity;
    return ((total - taken) * (now - first.at)) / (taken - first.value) / HOUR;
  }

  #volumes(): Reading[] {
    const { catalog, units } = this.#watched;
    return catalog.volumes.values().flatMap((record): Reading[] => {
      if (record.state !== 'ready') return [];
      const object = { kind: 'volume', name: record.name };
      const lu = units.unit(record.name);
      // Nothing is wrong here with what other nodes have.
      if (lu === undefined && this.#watched.holds?.(record) === false) return [];
      const why = units.problem(record.name) ?? 'it is being opened';
      const failed: Reading = {
        rule: 'volume-failed',
        object,
        value: lu === undefined ? 1 : 0,
        text: `disk ${record.name} is not served: ${why}`,
      };
      if (lu === undefined) return [failed];
      const { readLatency, writeLatency } = lu.counters;
      const [count, sum] = [readLatency.count + writeLatency.count, readLatency.sum + writeLatency.sum];
      const last = this.#counted.get(record.id);
      this.#counted.set(record.id, { count, sum });
      const commands = count - (last?.count ?? count);
      // A handful of commands says nothing of a device; neither does a disk that was opened anew.
      const mean = commands < ALERT_MIN_COMMANDS ? 0 : (sum - (last?.sum ?? sum)) / commands / 1000;
      return [
        failed,
        {
          rule: 'slow-device',
          object,
          value: mean,
          text: `disk ${record.name} takes ${mean.toFixed(0)} ms for a command`,
        },
      ];
    });
  }

  #hosts(): Reading[] {
    const { catalog, server } = this.#watched;
    const now = this.#clock.now();
    const sessions = new Map<string, number>();
    for (const { initiator, target } of server()?.sessions() ?? []) {
      const iqn = initiator.toLowerCase();
      if (target !== undefined) sessions.set(iqn, (sessions.get(iqn) ?? 0) + 1);
    }
    const mapped = new Set(
      catalog.volumes.values().flatMap(({ maps }) => maps.flatMap(({ who }) => initiatorsOf(catalog, who))),
    );
    for (const iqn of this.#paths.keys()) if (!mapped.has(iqn)) this.#paths.delete(iqn);
    return [...mapped].flatMap((iqn): Reading[] => {
      const has = sessions.get(iqn) ?? 0;
      const known = this.#paths.get(iqn);
      if (known === undefined || has >= known.most || now - known.at > ALERT_PATH_MEMORY) {
        // What has been so for a day is how it is meant to be.
        if (has > 0) this.#paths.set(iqn, { most: has, at: now });
        else this.#paths.delete(iqn);
      }
      const most = this.#paths.get(iqn)?.most ?? 0;
      if (most === 0) return [];
      const object = { kind: 'initiator', name: iqn };
      return [
        {
          rule: 'host-gone',
          object,
          value: has === 0 ? 1 : 0,
          text: `${iqn} had ${String(most)} sessions and has none`,
        },
        {
          rule: 'path-lost',
          object,
          value: has > 0 && has < most ? 1 : 0,
          text: `${iqn} had ${String(most)} sessions and has ${String(has)}`,
        },
      ];
    });
  }

  #certificate(): Reading[] {
    const end = this.#watched.certificateEnd();
    if (end === undefined) return [];
    const days = (end - this.#clock.wall()) / DAY;
    const when = new Date(end).toISOString().slice(0, 10);
    const text =
      days > 0 ? `the certificate of the API ends on ${when}` : `the certificate of the API ended on ${when}`;
    return [{ rule: 'certificate-expiring', object: { kind: 'certificate', name: 'api' }, value: days, text }];
  }
}

/** Who is meant by the subject of a map, by name; nobody who is not known by name is missed. */
function initiatorsOf({ hosts, hostGroups }: Catalog, who: string): readonly string[] {
  if (who === EVERYBODY || who === LOOPBACK) return [];
  if (who.startsWith(HOST_PREFIX)) return hosts.get(who.slice(HOST_PREFIX.length))?.iqns ?? [];
  if (!who.startsWith(GROUP_PREFIX)) return [who];
  const members = hostGroups.get(who.slice(GROUP_PREFIX.length))?.hosts ?? [];
  return members.flatMap((name) => hosts.get(name)?.iqns ?? []);
}
