// Hosts: several initiator names that belong together, their credentials, and groups of hosts. A volume is mapped to a host
// (`host:NAME`) or a group (`group:NAME`) as it is to an initiator.
import { ServiceError } from '../base/errors.ts';
import { MAX_GROUP_HOSTS, MAX_HOSTS, MAX_HOST_GROUPS, MAX_HOST_IQNS } from '../base/limits.ts';
import { Turn } from '../base/turn.ts';
import type { Clock } from '../base/world.ts';
import type { Catalog } from './catalog.ts';
import { checkCredentials } from './initiators.ts';
import type { ChapRequest, InitiatorCredentials } from './initiators.ts';
import { checkInitiator, checkName, printable } from './names.ts';
import { GROUP_PREFIX, HOST_PREFIX } from './records.ts';
import type { ChapRecord, HostGroupRecord, HostProfile, HostRecord } from './records.ts';
import type { SecretBox } from './secret-box.ts';

export interface HostRequest {
  readonly name: string;
  readonly iqns: readonly string[];
  /** What runs on it; null forgets it, absent keeps it. */
  readonly profile?: HostProfile | null | undefined;
  /** What its initiators prove themselves with, unless one has credentials of its own; null forgets it, absent keeps it. */
  readonly chap?: ChapRequest | null | undefined;
  /** What we prove ourselves with; null forgets it, absent keeps it. */
  readonly mutual?: ChapRequest | null | undefined;
}

/** What an initiator is part of. */
export interface HostStanding {
  readonly host: string | undefined;
  readonly groups: readonly string[];
}

type ChapName = 'chap' | 'mutual';

export class Hosts {
  readonly #catalog: Catalog;
  readonly #box: SecretBox;
  readonly #clock: Clock;
  readonly #changed: () => void;
  readonly #turn = new Turn();
  /** By host. */
  readonly #credentials = new Map<string, InitiatorCredentials>();
  /** Names of hosts by initiator name. */
  #byIqn = new Map<string, string>();

  /** `changed`: who belongs where has. Throws ServiceError folder-unusable when the secrets belong to another key. */
  constructor(catalog: Catalog, box: SecretBox, clock: Clock, changed: () => void) {
    this.#catalog = catalog;
    this.#box = box;
    this.#clock = clock;
    this.#changed = changed;
    for (const record of catalog.hosts.values()) this.#learn(record);
    this.#index();
  }

  list(): HostRecord[] {
    return this.#catalog.hosts.values();
  }

  groups(): HostGroupRecord[] {
    return this.#catalog.hostGroups.values();
  }

  /** Throws ServiceError not-found. */
  get(name: string): HostRecord {
    const record = this.#catalog.hosts.get(name);
    if (record === undefined) throw new ServiceError('not-found', `there is no host '${printable(name)}'`);
    return record;
  }

  /** Throws ServiceError not-found. */
  group(name: string): HostGroupRecord {
    const record = this.#catalog.hostGroups.get(name);
    if (record === undefined) throw new ServiceError('not-found', `there is no host group '${printable(name)}'`);
    return record;
  }

  standing(iqn: string): HostStanding {
    const host = this.#byIqn.get(iqn);
    if (host === undefined) return { host, groups: [] };
    const groups = this.groups().filter(({ hosts }) => hosts.includes(host));
    return { host, groups: groups.map(({ name }) => name) };
  }

  /** What an initiator proves itself with as part of its host. */
  credentials(iqn: string): InitiatorCredentials {
    return this.#credentials.get(this.#byIqn.get(iqn) ?? '') ?? { method: 'none' };
  }

  /** Volumes a host sees by name or through a group, in order. */
  volumesOf(host: string): string[] {
    const subjects = new Set([HOST_PREFIX + host]);
    for (const { name, hosts } of this.groups()) if (hosts.includes(host)) subjects.add(GROUP_PREFIX + name);
    const iqns = new Set(this.#catalog.hosts.get(host)?.iqns);
    const all = this.#catalog.volumes.values();
    return all.filter(({ maps }) => maps.some(({ who }) => subjects.has(who) || iqns.has(who))).map(({ name }) => name);
  }

  /** Makes or changes a host. Rejects with bad-request, exists (an initiator of another host) or limit-reached. */
  put(wanted: HostRequest): Promise<HostRecord> {
    return this.#turn.run(async () => {
      const name = checkName(wanted.name, 'host');
      const before = this.#catalog.hosts.get(name);
      if (before === undefined && this.#catalog.hosts.size >= MAX_HOSTS) {
        throw new ServiceError('limit-reached', `${String(MAX_HOSTS)} hosts are known already`);
      }
      const iqns = this.#checkIqns(name, wanted.iqns);
      const chap = this.#chapOf(name, 'chap', wanted, before);
      const mutual = this.#chapOf(name, 'mutual', wanted, before);
      this.#checkChap(name, wanted, chap, mutual);
      const profile = wanted.profile === undefined ? before?.profile : (wanted.profile ?? undefined);
      const record: HostRecord = {
        ...{ name, iqns, created: before?.created ?? this.#clock.wall() },
        ...(profile === undefined ? {} : { profile }),
        ...(chap === undefined ? {} : { chap }),
        ...(mutual === undefined ? {} : { mutual }),
      };
      await this.#catalog.apply(this.#catalog.hosts.edit(name, record));
      this.#learn(record);
      this.#index();
      this.#changed();
      return record;
    });
  }

  /** The host as it was before; undefined: there was none. Rejects with in-use like remove(). */
  async putBack(name: string, before: HostRecord | undefined): Promise<void> {
    if (before === undefined) {
      if (this.#catalog.hosts.get(name) !== undefined) await this.remove(name);
      return;
    }
    await this.#turn.run(async () => {
      await this.#catalog.apply(this.#catalog.hosts.edit(name, before));
      this.#learn(before);
      this.#index();
      this.#changed();
    });
  }

  /** Forgets a host. Refused while a volume is mapped to it, or a group has it. */
  remove(name: string): Promise<void> {
    return this.#turn.run(async () => {
      this.get(name);
      this.#refuseMapped(HOST_PREFIX + name);
      const group = this.groups().find(({ hosts }) => hosts.includes(name));
      if (group !== undefined) {
        throw new ServiceError('in-use', `host '${name}' is in group '${group.name}'; take it out first`);
      }
      await this.#catalog.apply(this.#catalog.hosts.edit(name, undefined));
      this.#credentials.delete(name);
      this.#index();
      this.#changed();
    });
  }

  /** Makes or changes a group. Rejects with bad-request, not-found (a host) or limit-reached. */
  putGroup(wanted: string, hosts: readonly string[]): Promise<HostGroupRecord> {
    return this.#turn.run(async () => {
      const name = checkName(wanted, 'host group');
      const before = this.#catalog.hostGroups.get(name);
      if (before === undefined && this.#catalog.hostGroups.size >= MAX_HOST_GROUPS) {
        throw new ServiceError('limit-reached', `there are ${String(MAX_HOST_GROUPS)} host groups already`);
      }
      const unique = [...new Set(hosts)].sort();
      if (unique.length > MAX_GROUP_HOSTS) {
        throw new ServiceError('bad-request', `a host group has at most ${String(MAX_GROUP_HOSTS)} hosts`);
      }
      for (const host of unique) this.get(host);
      const record: HostGroupRecord = { name, hosts: unique, created: before?.created ?? this.#clock.wall() };
      await this.#catalog.apply(this.#catalog.hostGroups.edit(name, record));
      this.#changed();
      return record;
    });
  }

  /** Refused while a volume is mapped to it. */
  removeGroup(name: string): Promise<void> {
    return this.#turn.run(async () => {
      this.group(name);
      this.#refuseMapped(GROUP_PREFIX + name);
      await this.#catalog.apply(this.#catalog.hostGroups.edit(name, undefined));
      this.#changed();
    });
  }

  #refuseMapped(who: string): void {
    const mapped = this.#catalog.volumes.values().filter(({ maps }) => maps.some((map) => map.who === who));
    if (mapped.length === 0) return;
    const names = mapped.slice(0, 3).map(({ name }) => `'${name}'`);
    const more = mapped.length > 3 ? ' and others' : '';
    throw new ServiceError('in-use', `volume ${names.join(', ')}${more} is mapped to ${who}; unmap it first`);
  }

  #checkIqns(host: string, wanted: readonly string[]): string[] {
    const iqns = [...new Set(wanted.map(checkInitiator))];
    if (iqns.length > MAX_HOST_IQNS) {
      throw new ServiceError('bad-request', `a host has at most ${String(MAX_HOST_IQNS)} initiators`);
    }
    for (const iqn of iqns) {
      const other = this.#byIqn.get(iqn);
      if (other !== undefined && other !== host) throw new ServiceError('exists', `${iqn} belongs to host '${other}'`);
    }
    return iqns;
  }

  #chapOf(host: string, which: ChapName, wanted: HostRequest, before: HostRecord | undefined): ChapRecord | undefined {
    const request = wanted[which];
    if (request === undefined) return before?.[which];
    if (request === null) return undefined;
    return { user: request.user, secret: this.#box.seal(Buffer.from(request.secret), context(host, which)) };
  }

  #checkChap(host: string, wanted: HostRequest, chap?: ChapRecord, mutual?: ChapRecord): void {
    const open = (which: ChapName, record: ChapRecord | undefined): ChapRequest | undefined =>
      wanted[which] ??
      (record && { user: record.user, secret: this.#box.open(record.secret, context(host, which)).toString() });
    checkCredentials({ iqn: '', chap: open('chap', chap), mutual: open('mutual', mutual) });
  }

  #learn({ name, chap, mutual }: HostRecord): void {
    if (chap === undefined) {
      this.#credentials.delete(name);
      return;
    }
    const open = (which: ChapName, { user, secret }: ChapRecord): { user: string; secret: Buffer } => ({
      user,
      secret: this.#box.open(secret, context(name, which)),
    });
    const own = mutual === undefined ? {} : { mutual: open('mutual', mutual) };
    this.#credentials.set(name, { method: 'chap', ...open('chap', chap), ...own });
  }

  #index(): void {
    this.#byIqn = new Map(this.list().flatMap(({ name, iqns }) => iqns.map((iqn) => [iqn, name] as const)));
  }
}

const context = (host: string, which: ChapName): string => `host ${host} ${which}`;
