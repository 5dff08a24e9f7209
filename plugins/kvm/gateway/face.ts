// What the gateway answers about its pool: the storage, shown as a pool of the type "logical", because for that graphical clients offer
// to create volumes (they do not for iscsi-direct).
import { createHash, randomUUID } from 'node:crypto';
import { TypedApi } from '../../sdk/typed-api.ts';
import type { ApiCall } from '../../sdk/typed-api.ts';
import { ensureSecret } from '../ensure.ts';
import { uuidOf } from '../identity.ts';
import { patiently } from '../libvirt.ts';
import type { DiskSource } from '../model/disk.ts';
import { child, element, parseXml, textOf, toXml } from '../model/xml.ts';
import type { Element } from '../model/xml.ts';
import { isMapped, sourceFor } from '../ops/context.ts';
import type { OpsContext } from '../ops/context.ts';
import { LibvirtCode, LibvirtError } from '../rpc/errors.ts';
import type { Pool, Volume } from '../rpc/types.ts';
import { readSecret } from '../settings.ts';
import type { StoredDisk } from '../storage.ts';
import { pathOf, translated, translatedBack, volumeAt, volumesIn } from './domain-xml.ts';
import { Leases } from './leases.ts';

/** virStoragePoolState, virStorageVolType. */
const RUNNING = 2;
const BLOCK = 1;
/** virErrorDomain: the storage driver. */
export const STORAGE = 18;

/** virConnectListAllStoragePoolsFlags: bits that exclude each other, with the ones that are true of ours. */
const FILTERS = [
  { all: 0x3, ours: 0x2 }, // inactive, active
  { all: 0xc, ours: 0x4 }, // persistent, transient
  { all: 0x30, ours: 0x10 }, // autostart, none
  { all: 0x7fff_ffc0, ours: 0x200 }, // dir, fs, netfs, logical, and all other types
];

/** Bytes in a unit (libvirt.org, formatstorage: the letter alone is a power of 1024, with B one of 1000). */
function unitOf(unit: string): number {
  const parts = /^(?:bytes|b|([kmgtpe])(ib|b)?)$/i.exec(unit);
  if (parts === null) throw badXml(`the unit '${unit.slice(0, 50)}'`);
  const [, letter, rest = ''] = parts;
  const power = letter === undefined ? 0 : 'kmgtpe'.indexOf(letter.toLowerCase()) + 1;
  return (rest.toLowerCase() === 'b' ? 1000 : 1024) ** power;
}

const badXml = (what: string): LibvirtError => new LibvirtError(LibvirtCode.xml, STORAGE, `${what} is not understood`);

export interface Translation {
  readonly xml: string;
  /** Of the domain; a new one when it had none. Empty: it is a disk. */
  readonly uuid: string;
  /** Names of those in it. */
  readonly volumes: readonly string[];
}

/** Milliseconds a client waits for a storage that does not answer. */
const ANSWER_PATIENCE = 10_000;

interface Wanted {
  readonly name: string;
  /** Bytes, a multiple of 512; undefined: as much as what is cloned. */
  readonly size: number | undefined;
}

/** Reads a `<volume>`. */
export function wantedIn(xml: string): Wanted {
  const root = parseXml(xml);
  const name = textOf(child(root, 'name'));
  if (root.name !== 'volume' || name === undefined) throw badXml(`<${root.name}>`);
  const capacity = child(root, 'capacity');
  const text = textOf(capacity)?.trim();
  if (text === undefined) return { name, size: undefined };
  if (!/^\d{1,19}$/.test(text)) throw badXml(`the capacity '${text.slice(0, 50)}'`);
  const size = Number(text) * unitOf(capacity?.attributes['unit'] ?? 'bytes');
  if (size === 0) return { name, size: undefined };
  return { name, size: Math.ceil(size / 512) * 512 };
}

export class PoolFace {
  readonly pool: Pool;
  readonly leases: Leases;
  readonly #context: OpsContext;
  readonly #api: TypedApi;

  /** `name`: of the pool, as clients see it. */
  constructor(context: OpsContext, call: ApiCall, name: string) {
    this.#context = context;
    this.leases = new Leases(context);
    this.#api = new TypedApi(call);
    this.pool = { name, uuid: uuidOf(`gateway ${name}`) };
  }

  isOurs(pool: Pool): boolean {
    return pool.uuid === this.pool.uuid || pool.name === this.pool.name;
  }

  /** Whether a list with these flags has it. */
  isListed(flags: number): boolean {
    return FILTERS.every(({ all, ours }) => (flags & all) === 0 || (flags & ours) !== 0);
  }

  /** Volumes that this host may use; nobody else's are shown, or can be deleted, through it. */
  async disks(): Promise<StoredDisk[]> {
    const { storage, settings } = this.#context;
    const visible = new Set(await storage.visibleTo(settings.host));
    return (await storage.volumes()).filter((disk) => visible.has(disk.name) || isMapped(disk, settings.initiator));
  }

  /** Rejects with LibvirtError noVolume. */
  async disk(name: string): Promise<StoredDisk> {
    const { storage, settings } = this.#context;
    const found = await storage.find(name);
    if (found !== undefined) {
      if (isMapped(found, settings.initiator) || (await storage.visibleTo(settings.host)).includes(name)) return found;
    }
    throw new LibvirtError(LibvirtCode.noVolume, STORAGE, `no storage vol with matching name '${name}'`);
  }

  handleOf({ name }: { readonly name: string }): Volume {
    // The key has to be unique on the host; the path is.
    const path = pathOf(this.pool.name, name);
    return { pool: this.pool.name, name, key: path };
  }

  volumeAt(path: string): string | undefined {
    return volumeAt(this.pool.name, path);
  }

  async info(): Promise<{ state: number; capacity: number; allocation: number; available: number }> {
    const { items } = await this.#api.ask('GET /pools', { query: {} });
    const facts = items.flatMap((each) => each.facts ?? []);
    const sum = (of: (each: (typeof facts)[number]) => number): number =>
      facts.reduce((total, each) => total + of(each), 0);
    const capacity = sum((each) => each.capacityBytes);
    const allocation = sum((each) => each.usedBytes);
    return { state: RUNNING, capacity, allocation, available: Math.max(0, capacity - allocation) };
  }

  async xml(): Promise<string> {
    const { capacity, allocation, available } = await this.info();
    const { name, uuid } = this.pool;
    const size = (of: string, value: number): Element => element(of, { unit: 'bytes' }, String(value));
    const source = element('source', {}, element('name', {}, name), element('format', { type: 'lvm2' }));
    const target = element('target', {}, element('path', {}, `/dev/${name}`));
    const sizes = [size('capacity', capacity), size('allocation', allocation), size('available', available)];
    const identity = [element('name', {}, name), element('uuid', {}, uuid)];
    return toXml(element('pool', { type: 'logical' }, ...identity, ...sizes, source, target));
  }

  facts({ size, allocatedBytes }: StoredDisk): { type: number; capacity: number; allocation: number } {
    return { type: BLOCK, capacity: size, allocation: allocatedBytes ?? size };
  }

  volumeXml(disk: StoredDisk): string {
    const { capacity, allocation } = this.facts(disk);
    const { name, key } = this.handleOf(disk);
    return toXml(
      element(
        'volume',
        { type: 'block' },
        element('name', {}, name),
        element('key', {}, key),
        element('capacity', { unit: 'bytes' }, String(capacity)),
        element('allocation', { unit: 'bytes' }, String(allocation)),
        element('target', {}, element('path', {}, key), element('format', { type: 'raw' })),
      ),
    );
  }

  async create(xml: string): Promise<Volume> {
    const { name, size } = wantedIn(xml);
    if (size === undefined) throw badXml('a volume without a capacity');
    const { storage, settings } = this.#context;
    // Under one key an answer that got lost is asked for again, and nothing is made twice.
    const key = randomUUID();
    await patiently(() => storage.create(name, size, undefined, key), ANSWER_PATIENCE);
    try {
      await patiently(() => storage.map(name, settings.initiator), ANSWER_PATIENCE);
    } catch (error) {
      await storage.remove(name).catch(() => undefined);
      throw error;
    }
    return this.handleOf({ name });
  }

  /** Inside the storage: grains are shared, nothing is copied. */
  async clone(from: string, xml: string): Promise<Volume> {
    const { name, size } = wantedIn(xml);
    const source = await this.disk(from);
    const { storage, settings } = this.#context;
    const key = randomUUID();
    await patiently(() => storage.clone(from, name, settings.initiator, key), ANSWER_PATIENCE);
    try {
      if (size !== undefined && size > source.size) {
        await patiently(() => storage.resize(name, size), ANSWER_PATIENCE);
      }
    } catch (error) {
      await storage.remove(name).catch(() => undefined);
      throw error;
    }
    return this.handleOf({ name });
  }

  async resize(name: string, capacity: number): Promise<void> {
    const disk = await this.disk(name);
    if (capacity < disk.size) throw refused('a volume can only grow');
    await this.#context.storage.resize(name, Math.ceil(capacity / 512) * 512);
  }

  async remove(name: string): Promise<void> {
    const disk = await this.disk(name);
    await this.leases.unused(disk);
    await this.leases.reclaim(disk);
    // Who is logged in keeps it from being deleted, and so does somebody else's lease; both are looked at by the daemon.
    await this.#context.storage.remove(name);
  }

  /** A domain or a disk as libvirtd can use it; undefined: nothing in it is of the pool. */
  async forLibvirtd(xml: string): Promise<Translation | undefined> {
    // Reading is strict; what names nothing of the pool goes on as it came, whatever it is.
    if (!xml.includes(this.pool.name)) return undefined;
    let root = parseXml(xml);
    const volumes = volumesIn(this.pool.name, root);
    if (volumes.length === 0) return undefined;
    let uuid = '';
    if (root.name === 'domain') {
      // Whoever leases them has to be known before libvirtd would make it up.
      uuid = textOf(child(root, 'uuid'))?.trim().toLowerCase() ?? '';
      if (uuid === '') {
        uuid = randomUUID();
        root = { ...root, children: [...root.children, element('uuid', {}, uuid)] };
      }
    }
    const { libvirt, settings } = this.#context;
    const { chap, initiator } = settings;
    if (chap !== undefined) await ensureSecret(libvirt, initiator, readSecret(chap.secretFile));
    const sources = new Map<string, DiskSource>();
    for (const name of volumes) sources.set(name, sourceFor(this.#context, await this.disk(name), 'iscsi'));
    return { xml: toXml(translated(this.pool.name, root, sources)), uuid, volumes };
  }

  /** A domain as clients of the gateway know it; undefined: nothing in it is of the pool. */
  async forClient(xml: string): Promise<string | undefined> {
    if (!xml.includes("protocol='iscsi'")) return undefined;
    const names = new Map((await this.disks()).map(({ name, iqn, lun }) => [`${iqn}/${String(lun)}`, name]));
    const back = translatedBack(this.pool.name, parseXml(xml), names);
    return back === undefined ? undefined : toXml(back);
  }

  /** Changes when clients would see something else. */
  async signature(): Promise<string> {
    const hash = createHash('sha256');
    for (const { name, size } of await this.disks()) hash.update(`${name} ${String(size)}\n`);
    return hash.digest('base64');
  }
}

export const refused = (why: string): LibvirtError => new LibvirtError(LibvirtCode.operationInvalid, STORAGE, why);
