// Snapshots that are taken, and deleted again, by the clock.
import { ServiceError, messageOf } from '../base/errors.ts';
import { MAX_GROUP, MAX_SCHEDULES, MAX_SCHEDULE_RULES, SCHEDULE_INTERVAL } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import { Turn } from '../base/turn.ts';
import type { Clock } from '../base/world.ts';
import type { VolumeBackend } from './backend.ts';
import type { Catalog } from './catalog.ts';
import type { Events } from './events.ts';
import { checkName, printable } from './names.ts';
import type { Provisioner } from './provision.ts';
import { Rounds } from './rounds.ts';
import type { ScheduleRecord, ScheduleRule } from './records.ts';
import { checkRule, labelsOf, lastDue, nextDue, stamp } from './schedule-times.ts';
import type { Snapshots } from './snapshots.ts';

/** The names of its snapshots have this before their kind and time, and at most 63 characters. */
const MAX_NAME = 36;

export interface SchedulesOptions {
  readonly catalog: Catalog;
  readonly backend: Pick<VolumeBackend, 'leads'>;
  readonly provisioner: Provisioner;
  readonly snapshots: Snapshots;
  readonly events: Events;
  readonly clock: Clock;
  readonly log: Log;
}

export interface ScheduleRequest {
  readonly name: string;
  readonly volumes: readonly string[];
  readonly rules: readonly ScheduleRule[];
  readonly enabled?: boolean | undefined;
}

export interface ScheduleView {
  readonly name: string;
  readonly volumes: readonly string[];
  readonly rules: readonly ScheduleRule[];
  readonly enabled: boolean;
  /** ISO 8601; null: it does not run. */
  readonly next: string | null;
  readonly last: string | null;
  /** Why the last run failed. */
  readonly problem: string | null;
  /** Snapshots of it that are kept now. */
  readonly snapshots: number;
  readonly created: string;
}

export class Schedules {
  readonly #options: SchedulesOptions;
  readonly #turn = new Turn();
  readonly #rounds: Rounds;

  constructor(options: SchedulesOptions) {
    this.#options = options;
    this.#rounds = new Rounds(options.clock, SCHEDULE_INTERVAL, () => this.runDue());
  }

  list(): ScheduleRecord[] {
    return this.#options.catalog.schedules.values();
  }

  /** Throws ServiceError not-found. */
  get(name: string): ScheduleRecord {
    const record = this.#options.catalog.schedules.get(name);
    if (record === undefined) throw new ServiceError('not-found', `there is no schedule '${printable(name)}'`);
    return record;
  }

  view(record: ScheduleRecord): ScheduleView {
    const { name, volumes, rules, enabled, last, created } = record;
    const { catalog, clock } = this.#options;
    const next = enabled ? Math.min(...rules.map((rule) => nextDue(rule, clock.wall()))) : undefined;
    const kept = catalog.snapshots.values().filter(({ schedule }) => schedule?.name === name).length;
    return {
      ...{ name, volumes, rules, enabled, snapshots: kept },
      next: next === undefined ? null : new Date(next).toISOString(),
      last: last === undefined ? null : new Date(last.time).toISOString(),
      problem: last?.error ?? null,
      created: new Date(created).toISOString(),
    };
  }

  /** Makes or changes a schedule; what was due before does not count. Rejects with bad-request, not-found or limit-reached. */
  put(wanted: ScheduleRequest): Promise<ScheduleRecord> {
    return this.#turn.run(async () => {
      const { catalog, clock } = this.#options;
      const name = checkName(wanted.name, 'schedule');
      if (name.length > MAX_NAME) {
        throw new ServiceError('bad-request', `the name of a schedule has at most ${String(MAX_NAME)} characters`);
      }
      const before = catalog.schedules.get(name);
      if (before === undefined && catalog.schedules.size >= MAX_SCHEDULES) {
        throw new ServiceError('limit-reached', `there are ${String(MAX_SCHEDULES)} schedules already`);
      }
      const { rules } = wanted;
      if (rules.length === 0 || rules.length > MAX_SCHEDULE_RULES) {
        throw new ServiceError('bad-request', `a schedule has 1 to ${String(MAX_SCHEDULE_RULES)} rules`);
      }
      for (const rule of rules) checkRule(rule);
      const volumes = this.#checkVolumes(wanted.volumes);
      const now = clock.wall();
      const record: ScheduleRecord = {
        ...{ name, volumes, rules, enabled: wanted.enabled ?? true },
        done: rules.map(() => now),
        ...(before?.last === undefined ? {} : { last: before.last }),
        created: before?.created ?? now,
      };
      await catalog.apply(catalog.schedules.edit(name, record));
      return record;
    });
  }

  #checkVolumes(wanted: readonly string[]): string[] {
    const { provisioner } = this.#options;
    const volumes = [...new Set(wanted)];
    if (volumes.length === 0 || volumes.length > MAX_GROUP) {
      throw new ServiceError('bad-request', `a schedule has 1 to ${String(MAX_GROUP)} volumes`);
    }
    const pools = new Set(volumes.map((name) => provisioner.volume(name).pool));
    if (pools.has(undefined)) throw new ServiceError('bad-request', 'only volumes of a pool have snapshots');
    if (pools.size > 1) {
      throw new ServiceError('bad-request', 'volumes of different pools cannot be caught at one instant');
    }
    return volumes;
  }

  /** Its snapshots stay. */
  remove(name: string): Promise<void> {
    return this.#turn.run(async () => {
      this.get(name);
      await this.#options.catalog.apply(this.#options.catalog.schedules.edit(name, undefined));
    });
  }

  /** Looks every now and then whether something is due. */
  start(): void {
    this.#rounds.start();
  }

  stop(): Promise<void> {
    return this.#rounds.stop();
  }

  /** Runs every rule that is due. One that was due several times (the daemon was not running) is run once. */
  async runDue(): Promise<void> {
    for (const { name } of this.list()) {
      if (this.#rounds.stopped) return;
      await this.#turn.run(() => this.#runOne(name));
    }
  }

  async #runOne(name: string): Promise<void> {
    const { catalog, clock, events, log } = this.#options;
    const labels = labelsOf(catalog.schedules.get(name)?.rules ?? []);
    for (const [i, label] of labels.entries()) {
      const record = catalog.schedules.get(name);
      const rule = record?.rules[i];
      if (record?.enabled !== true || rule === undefined) return;
      // In a cluster the node that looks after the first of them does it; that another one serves the rest is said by the failure.
      if (!record.volumes.slice(0, 1).every((volume) => this.#isOurs(volume))) return;
      const due = lastDue(rule, clock.wall());
      if (due <= (record.done[i] ?? 0)) continue;
      const problems: string[] = [];
      for (const work of [() => this.#take(record, label, due), () => this.#thin(record, label, rule.keep)]) {
        await work().catch((error: unknown) => {
          problems.push(messageOf(error));
        });
      }
      const error = problems.length === 0 ? {} : { error: problems.join('; ') };
      if (problems.length > 0) {
        const text = `snapshot schedule '${name}': ${problems.join('; ')}`;
        events.post({ severity: 'error', code: 'schedule-failed', object: { kind: 'schedule', name }, text });
      }
      const done = record.done.map((each, at) => (at === i ? due : each));
      const latest = catalog.schedules.get(name) ?? record;
      const next = { ...latest, done, last: { time: clock.wall(), ...error } };
      await catalog.apply(catalog.schedules.edit(name, next)).catch((why: unknown) => {
        log.error({ schedule: name, error: messageOf(why) }, 'the run of a schedule could not be noted');
      });
    }
  }

  #isOurs(volume: string): boolean {
    const record = this.#options.catalog.volumes.get(volume);
    return record === undefined || this.#options.backend.leads(record);
  }

  /** A run that a crash interrupted after its snapshots were taken takes no others: their name says when they were due. */
  async #take({ name, volumes }: ScheduleRecord, rule: string, due: number): Promise<void> {
    const { catalog, snapshots } = this.#options;
    const snapshot = `${name}-${rule}-${stamp(due)}`;
    const taken = volumes.every((volume) => catalog.snapshots.get(`${volume}@${snapshot}`)?.schedule?.name === name);
    if (!taken) await snapshots.create(volumes, snapshot, { name, rule });
  }

  /** Deletes the oldest snapshots of the rule but `keep`. */
  async #thin({ name, volumes }: ScheduleRecord, rule: string, keep: number): Promise<void> {
    const { catalog, snapshots } = this.#options;
    for (const volume of volumes) {
      const own = catalog
        .snapshotsOf(volume)
        .filter(({ schedule, state }) => schedule?.name === name && schedule.rule === rule && state === 'ready');
      for (const old of own.slice(0, Math.max(0, own.length - keep))) await snapshots.delete(volume, old.name);
    }
  }
}
