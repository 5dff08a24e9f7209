// The asking side of a connection to another node: it is made, and made anew when it breaks, and pairs answers with requests.
import { bytesOf } from '../../base/bytes-of.ts';
import { ProtocolError, messageOf } from '../../base/errors.ts';
import {
  MAX_PEER_BYTES,
  MAX_PEER_REQUESTS,
  PEER_CONNECT_TIMEOUT,
  PEER_HELLO_TIMEOUT,
  PEER_RETRY,
  PEER_RETRY_MAX,
  PEER_SWEEP,
} from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import type { Timer, World } from '../../base/world.ts';
import { FrameFlag } from '../wire/frame.ts';
import type { Frame } from '../wire/frame.ts';
import { Kept } from '../wire/kept.ts';
import { FrameConnection } from './connection.ts';
import { LinkMessage, fields, helloHeader, parseWelcome } from './hello.ts';
import type { ChannelKind, Welcome } from './hello.ts';
import { PeerRefusal, PeerSilence } from './peer-link.ts';
import type { PeerReply, ReplyListener } from './peer-link.ts';
import type { LocalNode, PeerAddress } from './peers.ts';

/** A reading of the peer's monotonic clock, and of ours when it came; milliseconds. */
export interface PeerClock {
  readonly theirs: number;
  readonly at: number;
}

interface Waiting {
  readonly listener: ReplyListener;
  readonly until: number;
  readonly bytes: number;
}

export class PeerChannel {
  readonly #world: World;
  readonly #log: Log;
  readonly #self: LocalNode;
  readonly #peer: PeerAddress;
  readonly #kind: ChannelKind;
  readonly #waiting = new Map<number, Waiting>();
  readonly #kept = new Kept();
  #bytes = 0;
  #nextId = 1;
  #connection: FrameConnection | undefined;
  #retry = PEER_RETRY;
  #timer: Timer | undefined;
  #sweep: Timer | undefined;
  #closed = false;
  #said = '';
  up = false;
  boot: string | undefined;
  version = 0;
  readonly onUp: (() => void)[] = [];
  readonly onDown: (() => void)[] = [];

  constructor(world: World, log: Log, self: LocalNode, peer: PeerAddress, kind: ChannelKind) {
    this.#world = world;
    this.#log = log;
    this.#self = self;
    this.#peer = peer;
    this.#kind = kind;
  }

  /** So much is under way that nobody should begin more than has to be. */
  get isBusy(): boolean {
    return this.#waiting.size >= MAX_PEER_REQUESTS / 2 || this.#bytes >= MAX_PEER_BYTES / 2;
  }

  /** Begins to connect. */
  open(): void {
    void this.#connect();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#connection?.destroy('closed by us');
    this.#failAll('the link was closed');
    this.#sweep?.cancel();
  }

  reset(reason: string): void {
    this.#connection?.destroy(reason);
    // Nobody may act on the old connection any more, even before it tells that it is gone.
    if (this.up) this.#wentDown(reason);
  }

  request(type: number, header: Buffer, pieces: readonly Buffer[], patience: number): Promise<PeerReply> {
    return new Promise((resolve, failed) => {
      const answered = (reply: PeerReply): void => {
        resolve({ header: this.#kept.keep(reply.header), data: this.#kept.keep(reply.data) });
      };
      this.ask(type, header, pieces, patience, { answered, failed });
    });
  }

  ask(type: number, header: Buffer, pieces: readonly Buffer[], patience: number, listener: ReplyListener): void {
    const connection = this.#connection;
    if (!this.up || connection === undefined) {
      listener.failed(new PeerSilence(`${this.#peer.node} cannot be reached`));
      return;
    }
    const bytes = header.length + bytesOf(pieces);
    if (this.#waiting.size >= MAX_PEER_REQUESTS || this.#bytes + bytes > MAX_PEER_BYTES) {
      listener.failed(new PeerSilence(`too many requests wait for ${this.#peer.node}`));
      return;
    }
    const id = this.#nextId;
    try {
      connection.send(type, 0, id, header, pieces);
    } catch (error) {
      // Nothing of it was sent. Who asks is in the middle of something, and hears of it as of any other failure.
      listener.failed(new PeerRefusal('too-large', messageOf(error)));
      return;
    }
    this.#nextId = id === 0xffff_ffff ? 1 : id + 1;
    this.#waiting.set(id, { listener, until: this.#world.clock.now() + patience, bytes });
    this.#bytes += bytes;
    this.#planSweep();
  }

  async #connect(): Promise<void> {
    const { host, port, node } = this.#peer;
    const { tls } = this.#self;
    const options = { timeout: PEER_CONNECT_TIMEOUT, ...(tls === undefined ? {} : { tls: { ...tls, expect: node } }) };
    try {
      const socket = await this.#world.net.connect({ host, port }, options);
      if (this.#closed) {
        socket.destroy('closed by us');
        return;
      }
      this.#greet(
        new FrameConnection(socket, this.#world.clock, {
          frame: (frame) => this.#frame(frame),
          closed: (reason) => {
            this.#lost(reason);
          },
        }),
      );
    } catch (error) {
      this.#lost(messageOf(error));
    }
  }

  #greet(connection: FrameConnection): void {
    this.#connection = connection;
    const { cluster, node, boot, versions } = this.#self;
    const hello = helloHeader({ cluster, node, boot, kind: this.#kind, ...versions });
    connection.send(LinkMessage.hello, 0, 0, hello, []);
    this.#timer = this.#world.clock.after(PEER_HELLO_TIMEOUT, () => {
      connection.destroy('no answer to HELLO');
    });
  }

  #frame(frame: Frame): boolean {
    if ((frame.flags & FrameFlag.answer) === 0) throw new ProtocolError('a request where answers come');
    if (!this.up) {
      this.#welcomed(frame);
      return true;
    }
    const waiting = this.#waiting.get(frame.id);
    // An answer that came when patience was over.
    if (waiting === undefined) return true;
    this.#forget(frame.id, waiting);
    if ((frame.flags & FrameFlag.refused) === 0)
      waiting.listener.answered({ header: frame.header, data: frame.payload });
    else waiting.listener.failed(refusalOf(frame.header));
    return true;
  }

  #welcomed(frame: Frame): void {
    if (frame.type !== LinkMessage.hello) throw new ProtocolError('the first answer is not for HELLO');
    if ((frame.flags & FrameFlag.refused) !== 0) throw refusalOf(frame.header);
    const welcome: Welcome = parseWelcome(frame.header);
    const { cluster, versions } = this.#self;
    if (welcome.cluster !== cluster || welcome.node !== this.#peer.node) {
      throw new ProtocolError(`${welcome.node} of cluster ${welcome.cluster} is at the address of ${this.#peer.node}`);
    }
    if (welcome.version < versions.min || welcome.version > versions.max)
      throw new ProtocolError('a version we do not know');
    this.#timer?.cancel();
    this.#retry = PEER_RETRY;
    this.#said = '';
    this.boot = welcome.boot;
    this.version = welcome.version;
    this.up = true;
    this.#log.info({ peer: this.#peer.node, kind: this.#kind, version: this.version }, 'link to the other node is up');
    for (const each of [...this.onUp]) each();
  }

  #lost(reason: string): void {
    this.#timer?.cancel();
    this.#connection = undefined;
    if (this.up) this.#wentDown(reason);
    if (this.#closed) return;
    // A node that is off is tried every second: the same reason is told once.
    if (reason !== this.#said) {
      this.#log.warn({ peer: this.#peer.node, kind: this.#kind, reason }, 'no link to the other node');
    }
    this.#said = reason;
    this.#timer = this.#world.clock.after(this.#retry, () => {
      void this.#connect();
    });
    this.#retry = Math.min(this.#retry * 2, PEER_RETRY_MAX);
  }

  #wentDown(reason: string): void {
    this.up = false;
    this.#failAll(`the link to ${this.#peer.node} broke: ${reason}`);
    for (const each of [...this.onDown]) each();
  }

  #failAll(reason: string): void {
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#bytes = 0;
    for (const each of all) each.listener.failed(new PeerSilence(reason));
  }

  #forget(id: number, waiting: Waiting): void {
    this.#waiting.delete(id);
    this.#bytes -= waiting.bytes;
  }

  #planSweep(): void {
    this.#sweep ??= this.#world.clock.after(PEER_SWEEP, () => {
      this.#sweep = undefined;
      const now = this.#world.clock.now();
      for (const [id, waiting] of [...this.#waiting]) {
        if (waiting.until > now) continue;
        this.#forget(id, waiting);
        waiting.listener.failed(new PeerSilence(`${this.#peer.node} did not answer in time`));
      }
      if (this.#waiting.size > 0) this.#planSweep();
    });
  }
}

function refusalOf(header: Buffer): PeerRefusal {
  const { code, message } = fields(header);
  return new PeerRefusal(
    typeof code === 'string' ? code : 'internal',
    typeof message === 'string' ? message : 'refused',
  );
}
