// Several nodes of a mirror in one process, on real sockets, with volumes in memory. Every pair is connected through relays
// that can be cut, in one direction of asking each, and a node can be stopped as if its power were gone.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, connect } from 'node:net';
import type { Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '../../core/base/log.ts';
import type { Log } from '../../core/base/log.ts';
import type { World } from '../../core/base/world.ts';
import { EmbeddedStore } from '../../core/cluster/embedded-store.ts';
import type {
  Change,
  CommitResult,
  ConfigEvent,
  ConfigRecord,
  ConfigStore,
  Expectation,
} from '../../core/cluster/config-store.ts';
import type { MirroredVolume } from '../../core/mirror/mirrored-volume.ts';
import type { LinkVersions } from '../../core/mirror/link/versions.ts';
import { MirrorNode } from '../../core/mirror/mirror-node.ts';
import { Durability } from '../../core/volume/volume.ts';
import type { Volume } from '../../core/volume/volume.ts';
import { MemoryVolume } from '../../core/volume/memory-volume.ts';
import { nodeWorld } from '../../core/world/node-world.ts';
import { until } from './until.ts';

/** Passes connections on, until it is told not to. */
export class Relay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #open = true;
  /** Chunks that are still let through before everything is cut; undefined: all. */
  budget: number | undefined;
  target = 0;
  /** What comes is swallowed, and nothing is closed. */
  isDeaf = false;

  constructor() {
    this.#server = createServer((socket) => {
      this.#accept(socket);
    });
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return (this.#server.address() as { port: number }).port;
  }

  /** Breaks what stands; nothing comes through until heal(). */
  cut(): void {
    this.#open = false;
    for (const each of this.#sockets) each.destroy();
  }
  /** Breaks what stands; it can be made anew. */
  break(): void {
    for (const each of this.#sockets) each.destroy();
  }
  heal(): void {
    this.budget = undefined;
    this.isDeaf = false;
    this.#open = true;
  }
  close(): void {
    this.cut();
    this.#server.close();
  }

  #accept(socket: Socket): void {
    if (!this.#open) {
      socket.destroy();
      return;
    }
    const other = connect({ host: '127.0.0.1', port: this.target });
    for (const [from, to] of [
      [socket, other],
      [other, socket],
    ] as const) {
      this.#sockets.add(from);
      from.on('error', () => undefined);
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      from.on('data', (chunk) => {
        if (this.budget !== undefined && --this.budget < 0) this.cut();
        else if (!this.isDeaf) to.write(chunk);
      });
    }
  }
}

/** The store all nodes use, as one of them sees it: it can be cut off, and keep the outcome to itself. */
export class NodeStore implements ConfigStore {
  readonly #store: ConfigStore;
  /** Undefined: it answers. Called before, and after, what was asked is done. */
  trouble: { readonly before?: () => Promise<void>; readonly after?: () => Promise<void> } | undefined;

  constructor(store: ConfigStore) {
    this.#store = store;
  }
  async get(key: string): Promise<ConfigRecord | undefined> {
    await this.trouble?.before?.();
    return this.#store.get(key);
  }
  list(prefix: string): Promise<ConfigRecord[]> {
    return this.#store.list(prefix);
  }
  async commit(changes: readonly Change[], expectations?: readonly Expectation[]): Promise<CommitResult> {
    await this.trouble?.before?.();
    const result = await this.#store.commit(changes, expectations);
    await this.trouble?.after?.();
    return result;
  }
  watch(prefix: string, listener: (event: ConfigEvent) => void): () => void {
    return this.#store.watch(prefix, listener);
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}

export interface TestNode {
  readonly name: string;
  mirror: MirrorNode;
  readonly store: NodeStore;
  /** Its copies: they stay when the node is stopped. */
  readonly copies: Map<string, Volume>;
  boots: number;
  isUp: boolean;
}

export class MirrorCluster {
  readonly folder = mkdtempSync(join(tmpdir(), 'gemel-mirror-'));
  readonly nodes = new Map<string, TestNode>();
  readonly store: EmbeddedStore;
  /** Relays by who connects and to whom. */
  readonly relays = new Map<string, Relay>();
  readonly world: World;
  log: Log = silentLog;
  /** Of the messages, by node, where they are not all this build knows. */
  readonly versions = new Map<string, LinkVersions>();
  durability: Durability = Durability.durable;
  size = 4_194_304;
  volumes: readonly string[] = ['v'];
  /** Nodes that are replicas from the start; all when undefined. */
  replicas: readonly string[] | undefined;
  makeCopy: (node: string, id: string) => Volume = () => new MemoryVolume(this.size, 512);

  private constructor(world: World) {
    this.world = world;
    this.store = new EmbeddedStore(join(this.folder, 'store'));
  }

  static async make(
    names: readonly string[],
    prepare: (cluster: MirrorCluster) => void = () => undefined,
  ): Promise<MirrorCluster> {
    const cluster = new MirrorCluster(await nodeWorld());
    prepare(cluster);
    for (const from of names) {
      for (const to of names) if (from !== to) cluster.relays.set(`${from}>${to}`, new Relay());
    }
    const ports = new Map<string, number>();
    for (const [key, relay] of cluster.relays) ports.set(key, await relay.listen());
    cluster.#ports = ports;
    for (const name of names) {
      const node = {
        name,
        store: new NodeStore(cluster.store),
        copies: new Map<string, Volume>(),
        boots: 0,
        isUp: false,
      };
      cluster.nodes.set(name, node as unknown as TestNode);
    }
    const [first] = names;
    for (const name of names) await cluster.boot(name, true);
    for (const id of cluster.volumes) await cluster.node(first ?? '').mirror.create(id, cluster.replicas ?? names);
    return cluster;
  }
  #ports = new Map<string, number>();

  node(name: string): TestNode {
    const node = this.nodes.get(name);
    if (node === undefined) throw new Error(`no node ${name}`);
    return node;
  }
  volume(name: string, id = 'v'): MirroredVolume {
    const volume = this.node(name).mirror.get(id);
    if (volume === undefined) throw new Error(`no volume at ${name}`);
    return volume;
  }
  relay(from: string, to: string): Relay {
    const relay = this.relays.get(`${from}>${to}`);
    if (relay === undefined) throw new Error('no relay');
    return relay;
  }

  /** Cuts, or heals, everything between two nodes. */
  cut(a: string, b: string): void {
    this.relay(a, b).cut();
    this.relay(b, a).cut();
  }
  heal(a: string, b: string): void {
    this.relay(a, b).heal();
    this.relay(b, a).heal();
  }

  /** Starts a node, with the copies it has. */
  async boot(name: string, fresh = false): Promise<void> {
    const node = this.node(name);
    node.boots++;
    const mirror = new MirrorNode({
      world: this.world,
      store: node.store,
      cluster: 'test',
      node: name,
      boot: `${name}-${String(node.boots)}`,
      log: this.log,
      listen: { host: '127.0.0.1', port: 0 },
      versions: this.versions.get(name),
    });
    node.mirror = mirror;
    await mirror.start();
    for (const other of this.nodes.keys()) {
      if (other === name) continue;
      this.relay(other, name).target = mirror.peers.port;
      mirror.addPeer({ node: other, host: '127.0.0.1', port: this.#ports.get(`${name}>${other}`) ?? 0 });
    }
    for (const id of this.volumes) {
      const isNew = fresh || !node.copies.has(id);
      if (isNew) node.copies.set(id, this.makeCopy(name, id));
      await mirror.open(
        { id, durability: this.durability, folder: join(this.folder, name), fresh },
        node.copies.get(id) as Volume,
      );
    }
    node.isUp = true;
  }

  /** As if the power were gone: nothing is said to anybody. */
  async kill(name: string): Promise<void> {
    const node = this.node(name);
    node.isUp = false;
    await node.mirror.halt();
  }

  /** The node that serves the volume, once there is one. */
  async owner(id = 'v', not?: string): Promise<string> {
    const serving = (): TestNode | undefined =>
      [...this.nodes.values()].find(
        ({ name, isUp, mirror }) => isUp && name !== not && mirror.get(id)?.steward.term?.mayServe === true,
      );
    await until(() => serving() !== undefined);
    return serving()?.name ?? '';
  }

  /** Waits until these, and no others, are in sync as the owner sees it. */
  async inSync(names: readonly string[], id = 'v'): Promise<void> {
    const wanted = [...names].sort().join();
    await until(() =>
      [...this.nodes.values()].some(({ isUp, mirror }) => {
        const ownership = isUp ? mirror.ownership(id) : undefined;
        return (
          ownership?.role === 'owner' &&
          [...ownership.inSync].sort().join() === wanted &&
          mirror.get(id)?.steward.term?.mayServe === true
        );
      }),
    );
  }

  async close(): Promise<void> {
    for (const node of this.nodes.values()) if (node.isUp) await node.mirror.halt();
    for (const each of this.relays.values()) each.close();
    await this.store.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Bytes of a block that says which write it was. */
export function block(number: number, length = 4096): Buffer {
  const data = Buffer.alloc(length);
  for (let at = 0; at < length; at += 8) {
    data.writeUInt32BE(number >>> 0, at);
    data.writeUInt32BE(at, at + 4);
  }
  return data;
}

/** The whole content of a volume. */
export async function content(volume: Volume): Promise<Buffer> {
  const data = Buffer.alloc(volume.info.size);
  await volume.read(0, data.length, data, 0);
  return data;
}
