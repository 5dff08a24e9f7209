// The addresses this node listens at for initiators: records of its catalog, opened and closed while it runs.
import { ServiceError, messageOf } from '../base/errors.ts';
import { formatHostPort, parseHostPort } from '../base/host-port.ts';
import { MAX_PORTAL_GROUPS, MAX_PORTALS, PORTAL_RETRY } from '../base/limits.ts';
import type { Log } from '../base/log.ts';
import { Turn } from '../base/turn.ts';
import type { Clock, Timer } from '../base/world.ts';
import type { Catalog } from './catalog.ts';
import type { Edit } from './collection.ts';
import type { Events } from './events.ts';
import { checkName, printable } from './names.ts';
import type { PortalRecord } from './records.ts';
import type { PortalServer, PortalView, SessionView } from './sessions.ts';

/** A portal somebody wants. */
export interface PortalRequest {
  /** The first free one of `portal1`, `portal2` … when absent. */
  readonly name?: string | undefined;
  /** HOST:PORT of this machine. */
  readonly address: string;
  /** Portal group tag; 1 when absent. */
  readonly group?: number | undefined;
  /** HOST:PORT told to initiators instead. */
  readonly advertised?: string | undefined;
}

/** As the daemon is told of one at its start. */
export interface PortalSetting {
  readonly host: string;
  readonly port: number;
  readonly group: number;
  readonly advertised?: string;
}

export interface PortalsOptions {
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: Pick<Events, 'post'>;
  readonly server: () => PortalServer | undefined;
  /** The tag initiators see of a portal group; in a cluster no two nodes have the same. */
  readonly tagOf: (group: number) => number;
  /** There are others now, or another address listens. */
  readonly changed: () => void;
}

/** A portal and what became of it. */
export interface PortalState {
  readonly record: PortalRecord;
  /** Portal group tag, as initiators see it. */
  readonly tag: number;
  /** Undefined: it does not listen. */
  readonly open: PortalView | undefined;
  readonly problem: string | undefined;
  readonly sessions: readonly SessionView[];
}

export class Portals {
  readonly #options: PortalsOptions;
  readonly #turn = new Turn();
  readonly #open = new Map<string, PortalView>();
  readonly #problems = new Map<string, string>();
  #retry: Timer | undefined;
  #stopped = false;

  constructor(options: PortalsOptions) {
    this.#options = options;
  }

  /** In the order in which they came; initiators are told of the first one first. */
  list(): PortalState[] {
    return recordsOf(this.#options.catalog).map((record) => this.#stateOf(record));
  }

  /** Throws ServiceError not-found. */
  get(name: string): PortalState {
    return this.#stateOf(this.#record(name));
  }

  /** Tags that portals have now, each once. */
  tags(): number[] {
    const { catalog, tagOf } = this.#options;
    return [...new Set(recordsOf(catalog).map(({ group }) => tagOf(group)))];
  }

  /**
   * Listens at all of them. One that cannot is tried again every now and then, and does not keep the others from their work.
   * Rejects with ServiceError port-taken or address-unusable for one of `needed` (names), and when none listens.
   */
  async start(needed: ReadonlySet<string>): Promise<void> {
    let first: unknown;
    for (const record of recordsOf(this.#options.catalog)) {
      try {
        await this.#listen(record);
      } catch (error) {
        if (needed.has(record.name)) throw error;
        first ??= error;
        this.#failed(record, error);
      }
    }
    if (this.#open.size === 0 && first !== undefined) throw first as Error;
    this.#planRetry();
  }

  stop(): void {
    this.#stopped = true;
    this.#retry?.cancel();
  }

  /**
   * Listens at one more address, from now on and after every start. Rejects with bad-request, exists, limit-reached,
   * port-taken or address-unusable.
   */
  add(request: PortalRequest): Promise<PortalState> {
    return this.#turn.run(async () => {
      const { catalog, clock } = this.#options;
      const records = recordsOf(catalog);
      const name = request.name === undefined ? freeName(catalog) : checkName(request.name, 'portal');
      if (catalog.portals.get(name) !== undefined) {
        throw new ServiceError('exists', `there is a portal '${name}' already`);
      }
      const { host, port } = parseHostPort(request.address, 'portal');
      if (port === 0) throw new ServiceError('bad-request', 'initiators have to know the port: choose one from 1 on');
      const same = records.find((each) => each.port === port && each.host === host);
      if (same !== undefined)
        throw new ServiceError('exists', `portal '${same.name}' is at ${request.address} already`);
      if (records.length >= MAX_PORTALS) {
        throw new ServiceError('limit-reached', `there are ${String(MAX_PORTALS)} portals already`);
      }
      const { advertised, group = 1 } = request;
      if (advertised !== undefined) parseHostPort(advertised, 'advertised');
      const groups = withGroups(catalog.node.portalGroups ?? [], [group]);
      const record: PortalRecord = {
        ...{ name, host, port, group, order: (records.at(-1)?.order ?? 0) + 1, created: clock.wall() },
        ...(advertised === undefined ? {} : { advertised }),
      };
      const edits = [catalog.portals.edit(name, record), ...catalog.editNode({ portalGroups: groups })];
      // The group first: what comes in at once has to find its target port.
      await catalog.apply(...edits);
      this.#options.changed();
      try {
        await this.#listen(record);
      } catch (error) {
        await this.#forget(name);
        throw error;
      }
      this.#options.changed();
      return this.#stateOf(record);
    });
  }

  /**
   * Nobody logs in there any more, for good. With sessions on it that takes `force`: they are asked to log out, and ended after a
   * while. Rejects with not-found, in-use (which names them) or last-portal.
   */
  remove(name: string, force: boolean): Promise<void> {
    return this.#turn.run(async () => {
      const { record, sessions, open } = this.get(name);
      const others = recordsOf(this.#options.catalog).filter((each) => each !== record);
      // One that does not listen is no way in.
      if (!others.some((each) => this.#open.has(each.name))) {
        throw new ServiceError('last-portal', `no other portal listens: without '${name}' no initiator comes in`);
      }
      if (sessions.length > 0 && !force) {
        const who = [...new Set(sessions.map(({ initiator }) => initiator))];
        const some = `${who.slice(0, 5).join(', ')}${who.length > 5 ? ', …' : ''}`;
        const what = sessions.length === 1 ? 'a session is' : `${String(sessions.length)} sessions are`;
        throw new ServiceError('in-use', `${what} on portal '${name}', and would end: ${some}`);
      }
      await this.#forget(name);
      const server = this.#options.server();
      if (open !== undefined && server !== undefined) server.closePortal(open);
      this.#options.changed();
    });
  }

  async #forget(name: string): Promise<void> {
    const { catalog } = this.#options;
    const left = recordsOf(catalog).filter((each) => each.name !== name);
    const groups = trimmed(catalog.node.portalGroups ?? [], left);
    await catalog.apply(catalog.portals.edit(name, undefined), ...catalog.editNode({ portalGroups: groups }));
    // Not before: when that fails it listens, and is there, as before.
    this.#open.delete(name);
    this.#problems.delete(name);
    this.#options.changed();
  }

  #record(name: string): PortalRecord {
    const record = this.#options.catalog.portals.get(name);
    if (record === undefined) throw new ServiceError('not-found', `there is no portal '${printable(name)}'`);
    return record;
  }

  #stateOf(record: PortalRecord): PortalState {
    const open = this.#open.get(record.name);
    const problem = open === undefined ? (this.#problems.get(record.name) ?? 'it does not listen yet') : undefined;
    const sessions = open === undefined ? [] : (this.#options.server()?.sessionsAt(open) ?? []);
    return { record, tag: this.#options.tagOf(record.group), open, problem, sessions };
  }

  async #listen(record: PortalRecord): Promise<void> {
    const server = this.#options.server();
    if (server === undefined) throw new Error('there is no server yet');
    const { name, host, port, group, advertised } = record;
    const wanted = { host, port, group: this.#options.tagOf(group) };
    this.#open.set(name, await server.openPortal(advertised === undefined ? wanted : { ...wanted, advertised }));
    this.#problems.delete(name);
  }

  #failed({ name, host, port }: PortalRecord, error: unknown): void {
    const text = messageOf(error);
    if (this.#problems.get(name) === text) return;
    this.#problems.set(name, text);
    this.#options.log.error({ portal: name, error: text }, 'a portal does not listen');
    const where = formatHostPort(host, port);
    const what = `portal '${name}' (${where}) does not listen: ${text}`;
    this.#options.events.post({
      severity: 'error',
      code: 'portal-failed',
      object: { kind: 'portal', name },
      text: what,
    });
  }

  /** An address may come back with its network. */
  #planRetry(): void {
    this.#retry = this.#options.clock.after(PORTAL_RETRY, () => {
      void this.#turn
        .run(() => this.#tryAgain())
        .finally(() => {
          if (!this.#stopped) this.#planRetry();
        });
    });
  }

  async #tryAgain(): Promise<void> {
    for (const record of recordsOf(this.#options.catalog)) {
      if (this.#stopped || this.#open.has(record.name)) continue;
      try {
        await this.#listen(record);
        this.#options.log.info({ portal: record.name }, 'the portal listens');
        this.#options.changed();
      } catch (error) {
        this.#failed(record, error);
      }
    }
  }
}

const recordsOf = ({ portals }: Catalog): PortalRecord[] => portals.values().sort((a, b) => a.order - b.order);

function freeName({ portals }: Catalog): string {
  for (let n = 1; ; n++) {
    const name = `portal${String(n)}`;
    if (portals.get(name) === undefined) return name;
  }
}

/**
 * Portal groups in the order in which they came. The place of one in it is part of its target port in a cluster (portOfNode), so it
 * stays as long as one behind it is in use. Throws ServiceError limit-reached.
 */
function withGroups(groups: readonly number[], more: readonly number[]): number[] {
  const all = [...new Set([...groups, ...more])];
  if (all.length <= MAX_PORTAL_GROUPS) return all;
  throw new ServiceError('limit-reached', `a node has at most ${String(MAX_PORTAL_GROUPS)} portal groups`);
}

function trimmed(groups: readonly number[], records: readonly PortalRecord[]): number[] {
  const last = groups.findLastIndex((group) => records.some((each) => each.group === group));
  return groups.slice(0, last + 1);
}

const textOf = ({ host, port, group, advertised }: PortalSetting): string =>
  [formatHostPort(host, port), String(group), ...(advertised === undefined ? [] : [advertised])].join(',');

/** Settings as texts, each different: a port of 0 may be there several times. */
function textsOf(settings: readonly PortalSetting[]): Map<string, PortalSetting> {
  const all = new Map<string, PortalSetting>();
  for (const setting of settings) {
    let text = textOf(setting);
    while (all.has(text)) text += ' again';
    all.set(text, setting);
  }
  return all;
}

/**
 * Brings the records in line with the settings of this start. Settings are how a node begins: those that are the same as at the
 * last start say nothing new, and what was added or removed since stays so. What has changed in them is changed in the records.
 * `given` undefined: nobody set any; `usual` is what a new node has then. Resolves with the names of those that are set.
 */
export async function settlePortals(
  catalog: Catalog,
  now: number,
  given: readonly PortalSetting[] | undefined,
  usual: readonly PortalSetting[],
): Promise<Set<string>> {
  const records = recordsOf(catalog);
  const settings = textsOf(given ?? (records.length === 0 ? usual : []));
  if (given === undefined && records.length > 0) return new Set();
  const before = new Set(records.length === 0 ? [] : (catalog.node.portalSettings ?? []));
  const gone = records.filter(({ setting }) => setting !== undefined && !settings.has(setting));
  let left = records.filter((each) => !gone.includes(each));
  const edits: Edit[] = gone.map(({ name }) => catalog.portals.edit(name, undefined));
  const names = new Set([...left.map(({ name }) => name), ...gone.map(({ name }) => name)]);
  let order = records.at(-1)?.order ?? 0;
  for (const [text, setting] of settings) {
    const { host, port } = setting;
    if (before.has(text) || (port !== 0 && left.some((each) => each.port === port && each.host === host))) continue;
    let n = 1;
    while (names.has(`portal${String(n)}`)) n++;
    const name = `portal${String(n)}`;
    names.add(name);
    const record: PortalRecord = { ...setting, name, setting: text, order: ++order, created: now };
    left = [...left, record];
    edits.push(catalog.portals.edit(name, record));
  }
  const portalGroups = trimmed(
    withGroups(
      catalog.node.portalGroups ?? [],
      left.map(({ group }) => group),
    ),
    left,
  );
  const portalSettings = [...settings.keys()];
  edits.push(...catalog.editNode({ portalGroups, portalSettings }));
  if (edits.length > 0) await catalog.apply(...edits);
  return new Set(left.flatMap(({ name, setting }) => (setting !== undefined && settings.has(setting) ? [name] : [])));
}
