// The network between the machines: connections that delay, that are cut in one direction or both, that break, or of which
// one end is gone and the other does not know. Within a connection bytes arrive in order and once, as TCP has it; what was
// sent on an earlier connection may arrive after something sent on a later one.
import { ServiceError } from '../../core/base/errors.ts';
import type { ConnectOptions, Destination, Listener, Net, Socket, SocketSink } from '../../core/base/world.ts';
import type { Boot } from './boot.ts';
import type { Chance } from './random.ts';
import type { VirtualTime } from './virtual-time.ts';

/** Bytes a receiver takes in one event at most: messages are split anywhere. */
const PIECE = 65_536;
/** Milliseconds between two attempts of TCP at most, after a long outage. */
const MAX_BACKOFF = 60_000;

/** How slow the network is; milliseconds. */
export interface Latency {
  readonly usual: number;
  /** Probability and length of a delay far beyond the usual one. */
  readonly tail: number;
  readonly tailLength: number;
}

interface Host {
  readonly name: string;
  boot: Boot;
  readonly listeners: Map<number, (socket: Socket) => void>;
  readonly ends: Set<End>;
}

/** One end of a connection. */
class End implements Socket {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  readonly unsent = 0;
  readonly network: Network;
  readonly host: Host;
  readonly boot: Boot;
  other: End | undefined;
  #sink: SocketSink | undefined;
  #closed = false;
  /** Not yet taken by the sink. */
  #arrived: Buffer[] = [];
  #stopped = false;
  /** When the last thing sent from here arrives there: what comes later must not overtake it. */
  #lastArrival = 0;

  constructor(network: Network, host: Host, ports: { local: number; remote: number }, remote: string) {
    this.network = network;
    this.host = host;
    this.boot = host.boot;
    this.localAddress = host.name;
    this.localPort = ports.local;
    this.remoteAddress = remote;
    this.remotePort = ports.remote;
    host.ends.add(this);
  }

  start(sink: SocketSink): void {
    this.#sink = sink;
    this.#later(() => {
      this.#deliver();
    });
  }

  write(data: Buffer, done?: () => void): void {
    this.writeAll([data]);
    if (done !== undefined) this.#later(done);
  }

  writeAll(pieces: readonly Buffer[]): void {
    if (this.#closed) return;
    // The operating system has its own copy.
    const data = Buffer.concat(pieces);
    this.#send((there) => {
      there.#arrived.push(data);
      there.#deliver();
    });
  }

  resume(): void {
    this.#stopped = false;
    this.#later(() => {
      this.#deliver();
    });
  }

  end(): void {
    if (this.#closed) return;
    this.#send((there) => {
      there.gone('closed by the peer');
    });
    this.gone('closed by us');
  }

  destroy(reason = 'closed by us'): void {
    if (this.#closed) return;
    this.#arrived = [];
    this.#send((there) => {
      there.gone('closed by the peer');
    });
    this.gone(reason);
  }

  /** The connection is over for this end. */
  gone(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.host.ends.delete(this);
    this.#later(() => {
      this.#sink?.closed(reason);
    });
  }

  /** The machine of this end is gone. The other one is told, if the operating system lives on. */
  drop(told: boolean): void {
    if (this.#closed) return;
    if (told) {
      this.#send((there) => {
        there.gone('reset by the peer');
      });
    }
    this.#closed = true;
    this.host.ends.delete(this);
  }

  #later(fn: () => void): void {
    this.boot.later(0, fn);
  }

  /** Something goes to the other end; it waits as long as the way there is cut. */
  #send(arrive: (there: End) => void): void {
    const there = this.other;
    if (there === undefined) return;
    const { network } = this;
    const at = Math.max(this.#lastArrival, network.time.now + network.delay());
    this.#lastArrival = at;
    const arrived = (): void => {
      if (there.boot.alive) {
        there.boot.arrive(() => {
          if (!there.#closed) arrive(there);
        });
      } else if (network.isUp(there.host.name)) {
        // The machine has started anew and knows of no such connection.
        network.travel(there.host.name, this.host.name, network.time.now + network.delay(), () => {
          this.gone('reset by the peer');
        });
      }
    };
    network.travel(this.host.name, there.host.name, at, arrived, this);
  }

  /** Nothing sent from here arrives there before `until`. */
  holdBack(until: number): void {
    this.#lastArrival = Math.max(this.#lastArrival, until);
  }

  #deliver(): void {
    const sink = this.#sink;
    while (sink !== undefined && !this.#stopped && !this.#closed) {
      const first = this.#arrived[0];
      if (first === undefined) return;
      const buffer = sink.buffer();
      const length = Math.min(first.length, buffer.length, 1 + this.network.chance.below(PIECE));
      first.copy(buffer, 0, 0, length);
      if (length === first.length) this.#arrived.shift();
      else this.#arrived[0] = first.subarray(length);
      if (!sink.received(length)) this.#stopped = true;
    }
  }
}

export class Network {
  readonly time: VirtualTime;
  readonly chance: Chance;
  latency: Latency = { usual: 0.3, tail: 0, tailLength: 0 };
  readonly #hosts = new Map<string, Host>();
  /** "from>to" that are cut, with what waits there. */
  readonly #cuts = new Map<
    string,
    { readonly since: number; readonly waiting: { fn: () => void; end: End | undefined }[] }
  >();
  #nextPort = 40_000;

  constructor(time: VirtualTime, chance: Chance) {
    this.time = time;
    this.chance = chance;
  }

  /** Milliseconds something takes. */
  delay(): number {
    const { usual, tail, tailLength } = this.latency;
    return usual * this.chance.between(0.5, 2) + (this.chance.happens(tail) ? this.chance.between(0, tailLength) : 0);
  }

  /** Nothing gets from one machine to the other. What is on its way arrives after the cut: TCP sends it again. */
  cut(from: string, to: string): void {
    const way = `${from}>${to}`;
    if (!this.#cuts.has(way)) this.#cuts.set(way, { since: this.time.now, waiting: [] });
  }

  /** TCP tries again the later the longer it has failed; new connections are made at once. */
  heal(from: string, to: string): void {
    const cut = this.#cuts.get(`${from}>${to}`);
    this.#cuts.delete(`${from}>${to}`);
    if (cut === undefined) return;
    const backoff = Math.min(this.time.now - cut.since, MAX_BACKOFF);
    const delays = new Map<End | undefined, number>([[undefined, 0]]);
    for (const { fn, end } of cut.waiting) {
      const delay = delays.get(end) ?? this.chance.between(0, backoff);
      delays.set(end, delay);
      end?.holdBack(this.time.now + delay);
      // In one go: nothing sent later may overtake what waited.
      this.time.after(delay, fn);
    }
  }

  /** The machine runs. */
  isUp(name: string): boolean {
    return this.#hosts.get(name)?.boot.alive === true;
  }

  /** Calls `fn` at that time, or when the way is there again. What waits keeps its order. */
  travel(from: string, to: string, at: number, fn: () => void, end?: End): void {
    this.time.after(at - this.time.now, () => {
      const cut = this.#cuts.get(`${from}>${to}`);
      if (cut === undefined) fn();
      else cut.waiting.push({ fn, end });
    });
  }

  /** All connections between two machines break; both learn of it in their own time. */
  breakAll(one: string, other: string): void {
    for (const end of [...(this.#hosts.get(one)?.ends ?? [])]) {
      const there = end.other;
      if (there?.host.name !== other) continue;
      end.boot.later(this.chance.between(0, 500), () => {
        end.gone('reset');
      });
      there.boot.later(this.chance.between(0, 500), () => {
        there.gone('reset');
      });
    }
  }

  /** A machine starts; it has no connection. */
  attach(name: string, boot: Boot): Net {
    const host: Host = { name, boot, listeners: new Map(), ends: new Set() };
    this.#hosts.set(name, host);
    boot.onEnd(() => {
      // kill -9: the operating system tells the others. No power: it does not.
      const told = this.chance.happens(0.5);
      for (const end of [...host.ends]) end.drop(told);
      host.listeners.clear();
    });
    return {
      listen: (_, port, accepted) => this.#listen(host, port, accepted),
      connect: (to, options) => this.#connect(host, to, options),
      listenPath: () => Promise.reject(new Error('not part of the simulation')),
    };
  }

  #listen(host: Host, wanted: number, accepted: (socket: Socket) => void): Promise<Listener> {
    const port = wanted === 0 ? this.#nextPort++ : wanted;
    if (host.listeners.has(port)) return Promise.reject(new ServiceError('in-use', `port ${String(port)} is used`));
    host.listeners.set(port, accepted);
    const close = (): Promise<void> => {
      host.listeners.delete(port);
      return Promise.resolve();
    };
    return Promise.resolve({ address: host.name, port, close });
  }

  #connect(host: Host, to: Destination, { timeout }: ConnectOptions): Promise<Socket> {
    if (!('host' in to)) return Promise.reject(new ServiceError('peer-unreachable', 'no such socket'));
    const { boot } = host;
    return new Promise((resolve, reject) => {
      let over = false;
      const settle = (fn: () => void) => (): void => {
        if (over) return;
        over = true;
        fn();
      };
      const fail = (why: string) =>
        settle(() => {
          reject(new ServiceError('peer-unreachable', why));
        });
      boot.later(timeout / boot.rate, fail('no answer in time'));
      this.travel(host.name, to.host, this.time.now + this.delay(), () => {
        const there = this.#hosts.get(to.host);
        if (there?.boot.alive !== true) return;
        there.boot.arrive(() => {
          const accepted = there.listeners.get(to.port);
          const answer = (fn: () => void): void => {
            this.travel(to.host, host.name, this.time.now + this.delay(), () => {
              boot.arrive(fn);
            });
          };
          if (accepted === undefined) {
            answer(fail('refused'));
            return;
          }
          const port = this.#nextPort++;
          const theirs = new End(this, there, { local: to.port, remote: port }, host.name);
          accepted(theirs);
          answer(() => {
            // It gave up waiting: the connection stands at the other side only, until that notices.
            if (over) {
              theirs.gone('reset by the peer');
              return;
            }
            const ours = new End(this, host, { local: port, remote: to.port }, to.host);
            ours.other = theirs;
            theirs.other = ours;
            settle(() => {
              resolve(ours);
            })();
          });
        });
      });
    });
  }
}
