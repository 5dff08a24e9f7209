// The links of a node: it listens for the others, connects to them, and knows who is who.
import { ProtocolError, messageOf } from '../../base/errors.ts';
import { MAX_PEER_REFUSALS, MAX_PEER_STRANGERS, PEER_HELLO_TIMEOUT } from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import type { Listener, Socket, TlsIdentity, World } from '../../base/world.ts';
import { FrameFlag } from '../wire/frame.ts';
import type { Frame } from '../wire/frame.ts';
import { Kept } from '../wire/kept.ts';
import { Answering, refusalHeader } from './answering.ts';
import { PeerChannel } from './channel.ts';
import type { PeerClock } from './channel.ts';
import { FrameConnection } from './connection.ts';
import { LinkMessage, helloHeader, parseHello } from './hello.ts';
import type { ChannelKind } from './hello.ts';
import { PeerRefusal } from './peer-link.ts';
import type { PeerHandler, PeerLink, PeerReply, ReplyListener } from './peer-link.ts';
import { LINK_VERSIONS, commonVersion, olderVersion, versionOfMessage } from './versions.ts';
import type { LinkVersions } from './versions.ts';

/** Where another node is. */
export interface PeerAddress {
  readonly node: string;
  readonly host: string;
  readonly port: number;
}

/** Who this node is on its links. */
export interface LocalNode {
  readonly cluster: string;
  readonly node: string;
  readonly boot: string;
  /** Versions of the messages it speaks. */
  readonly versions: LinkVersions;
  /** Undefined: without TLS, in tests and in the simulator. */
  readonly tls: TlsIdentity | undefined;
}

export interface PeersOptions {
  readonly world: World;
  readonly log: Log;
  readonly cluster: string;
  readonly node: string;
  readonly boot: string;
  readonly tls?: TlsIdentity | undefined;
  readonly versions?: LinkVersions | undefined;
  /** Somebody else opens the beacon connections of this node. */
  readonly beaconsElsewhere?: boolean | undefined;
}

/** A link to one node: two channels to it, and its two to us. */
class Link implements PeerLink {
  readonly node: string;
  readonly data: PeerChannel;
  readonly beacons: PeerChannel;
  readonly handlers: Record<ChannelKind, Map<number, PeerHandler>> = { data: new Map(), beacon: new Map() };
  /** Connections the peer has opened to us. */
  readonly theirs: Record<ChannelKind, FrameConnection | undefined> = { data: undefined, beacon: undefined };
  readonly left: (() => void)[] = [];
  clock: PeerClock | undefined;
  readonly #kept = new Kept();

  constructor(world: World, log: Log, self: LocalNode, peer: PeerAddress) {
    this.node = peer.node;
    this.data = new PeerChannel(world, log, self, peer, 'data');
    this.beacons = new PeerChannel(world, log, self, peer, 'beacon');
  }

  get up(): boolean {
    return this.data.up;
  }
  get boot(): string | undefined {
    return this.data.boot;
  }
  get version(): number {
    return this.data.version;
  }

  request(type: number, header: Buffer, pieces: readonly Buffer[], patience: number): Promise<PeerReply> {
    if (this.up && this.version < versionOfMessage(type)) {
      return Promise.reject(new PeerRefusal('replica-state', olderVersion(this.node)));
    }
    return this.data.request(type, header, pieces, patience);
  }
  ask(type: number, header: Buffer, pieces: readonly Buffer[], patience: number, listener: ReplyListener): void {
    if (this.up && this.version < versionOfMessage(type)) {
      listener.failed(new PeerRefusal('replica-state', olderVersion(this.node)));
    } else this.data.ask(type, header, pieces, patience, listener);
  }
  handle(type: number, handler: PeerHandler): void {
    this.handlers.data.set(type, (header, data) => handler(this.#kept.keep(header), this.#kept.keep(data)));
  }
  handleLent(type: number, handler: PeerHandler): void {
    this.handlers.data.set(type, handler);
  }
  onUp(listener: () => void): () => void {
    const { onUp } = this.data;
    const own = (): void => {
      listener();
    };
    onUp.push(own);
    return () => {
      const at = onUp.indexOf(own);
      if (at >= 0) onUp.splice(at, 1);
    };
  }
  onDown(listener: () => void): void {
    this.data.onDown.push(listener);
  }
  onLeft(listener: () => void): void {
    this.left.push(listener);
  }
  /** The peer has opened a connection. */
  attach(kind: ChannelKind, connection: FrameConnection): void {
    const before = this.theirs[kind];
    this.theirs[kind] = connection;
    if (before === undefined) return;
    // A node has one connection of each kind: what still comes on an older one is from before.
    before.destroy('replaced by a new connection');
    if (kind === 'data') for (const each of [...this.left]) each();
  }
  /** That connection is gone. */
  detach(kind: ChannelKind, connection: FrameConnection): void {
    if (this.theirs[kind] !== connection) return;
    this.theirs[kind] = undefined;
    if (kind === 'data') for (const each of [...this.left]) each();
  }
  reset(reason: string): void {
    this.data.reset(reason);
  }
  close(): void {
    this.data.close();
    this.beacons.close();
    for (const each of Object.values(this.theirs)) each?.destroy('closed by us');
  }
}

/** A node that has been let in, on one of its connections. */
interface Known {
  readonly answering: Answering;
  readonly link: Link;
  readonly kind: ChannelKind;
}

/** A link, with what only the leases use of it. */
export type NodeLink = Link;

export class Peers {
  readonly #world: World;
  readonly #log: Log;
  readonly #self: LocalNode;
  readonly #links = new Map<string, Link>();
  readonly #strangers = new Set<FrameConnection>();
  readonly #refused = new Set<string>();
  readonly #beaconsElsewhere: boolean;
  #listener: Listener | undefined;

  constructor(options: PeersOptions) {
    this.#world = options.world;
    this.#log = options.log;
    const { cluster, node, boot, tls, versions = LINK_VERSIONS, beaconsElsewhere = false } = options;
    this.#self = { cluster, node, boot, tls, versions };
    this.#beaconsElsewhere = beaconsElsewhere;
  }

  /** The port we listen on; 0: not yet. */
  get port(): number {
    return this.#listener?.port ?? 0;
  }
  get boot(): string {
    return this.#self.boot;
  }

  /** Rejects with a ServiceError. */
  async listen(host: string, port: number): Promise<void> {
    const accepted = (socket: Socket): void => {
      this.#accept(socket);
    };
    const refused = (address: string, why: string): void => {
      this.#tell(address, why);
    };
    this.#listener = await this.#world.net.listen(host, port, accepted, this.#self.tls, refused);
  }

  /** The link to a node; it is made, and begins to connect, when there is none. */
  add(peer: PeerAddress): NodeLink {
    const present = this.#links.get(peer.node);
    if (present !== undefined) return present;
    const link = new Link(this.#world, this.#log, this.#self, peer);
    this.#links.set(peer.node, link);
    link.data.open();
    if (!this.#beaconsElsewhere) link.beacons.open();
    return link;
  }

  get(node: string): NodeLink | undefined {
    return this.#links.get(node);
  }
  all(): NodeLink[] {
    return [...this.#links.values()];
  }

  /** Ends the link to a node that has left the cluster. */
  remove(node: string): void {
    this.#links.get(node)?.close();
    this.#links.delete(node);
  }

  async close(): Promise<void> {
    for (const node of [...this.#links.keys()]) this.remove(node);
    for (const each of [...this.#strangers]) each.destroy('closed by us');
    await this.#listener?.close();
  }

  #accept(socket: Socket): void {
    if (this.#strangers.size >= MAX_PEER_STRANGERS) {
      this.#tell(socket.remoteAddress, 'too many connections that say nothing');
      socket.destroy('too many');
      return;
    }
    let known: Known | undefined;
    const connection: FrameConnection = new FrameConnection(socket, this.#world.clock, {
      frame: (frame) => {
        if (known !== undefined) return this.#request(known, connection, frame);
        known = this.#hello(connection, frame);
        return true;
      },
      closed: (reason) => {
        timer.cancel();
        known?.link.detach(known.kind, connection);
        // Whoever was never let in and did not say why it left has something to hide.
        if (this.#strangers.delete(connection) && !QUIET.test(reason)) this.#tell(socket.remoteAddress, reason);
      },
    });
    const timer = this.#world.clock.after(PEER_HELLO_TIMEOUT, () => {
      if (this.#strangers.has(connection)) connection.destroy('it did not say HELLO');
    });
    this.#strangers.add(connection);
  }

  #request({ answering, link, kind }: Known, connection: FrameConnection, frame: Frame): boolean {
    if (frame.flags !== 0) throw new ProtocolError('an answer where requests come');
    // What still comes on a connection that was replaced is from before, and nobody wants it any more.
    return link.theirs[kind] === connection && answering.take(frame);
  }

  /** Lets a node in. Undefined: it was refused. */
  #hello(connection: FrameConnection, frame: Frame): Known | undefined {
    const { cluster, node, boot, versions } = this.#self;
    try {
      const hello = parseHello(frame);
      const { peerName, remoteAddress } = connection.socket;
      if (hello.cluster !== cluster) throw new PeerRefusal('foreign-cluster', `it belongs to cluster ${hello.cluster}`);
      const link = this.#links.get(hello.node);
      if (link === undefined) throw new PeerRefusal('unknown-node', `node ${hello.node} is not in this cluster`);
      if (peerName !== undefined && peerName !== hello.node) {
        throw new PeerRefusal('false-name', `${peerName} calls itself ${hello.node}`);
      }
      const version = commonVersion(versions, hello);
      if (version === undefined) throw new PeerRefusal('no-version', `it knows versions ${hello.min} to ${hello.max}`);
      this.#strangers.delete(connection);
      link.attach(hello.kind, connection);
      this.#log.debug({ peer: hello.node, kind: hello.kind, address: remoteAddress }, 'the other node has connected');
      connection.send(LinkMessage.hello, FrameFlag.answer, 0, helloHeader({ cluster, node, boot, version }), []);
      return { answering: new Answering(connection, link.handlers[hello.kind]), link, kind: hello.kind };
    } catch (error) {
      this.#tell(connection.socket.remoteAddress, messageOf(error));
      this.#strangers.delete(connection);
      connection.send(LinkMessage.hello, FrameFlag.answer | FrameFlag.refused, 0, refusalHeader(error), []);
      connection.end();
      return undefined;
    }
  }

  /** Each kind of trouble from an address is told once. */
  #tell(address: string, reason: string): void {
    const what = `${address} ${reason}`;
    if (this.#refused.has(what) || this.#refused.size >= MAX_PEER_REFUSALS) return;
    this.#refused.add(what);
    this.#log.warn({ address, reason }, 'refused a connection to the port for other nodes');
  }
}

const QUIET = /^closed by (us|the peer)$/;
