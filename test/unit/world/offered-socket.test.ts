import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Socket, SocketSink } from '../../../core/base/world.ts';
import { nodeNet } from '../../../core/world/node-net.ts';
import { OfferedSocket, offeringWorks } from '../../../core/world/offered-socket.ts';
import { clusterAuthority } from '../../support/cluster-certificates.ts';

/** Offers another piece of memory for every read, and wants a rest after every `every`-th. */
class Slow implements SocketSink {
  readonly got: Buffer[] = [];
  bytes = 0;
  /** Deliveries while it had a rest. */
  impatient = 0;
  reason: string | undefined;
  #offered: Buffer = Buffer.alloc(0);
  #asked = 0;
  #rests = false;
  readonly #every: number;
  readonly #resume: () => void;
  #wake: () => void = () => undefined;

  constructor(every: number, resume: () => void) {
    this.#every = every;
    this.#resume = resume;
  }

  buffer(): Buffer {
    return (this.#offered = Buffer.alloc(3000 + (this.#asked++ % 7) * 4001));
  }
  received(bytes: number): boolean {
    if (this.#rests) this.impatient++;
    this.got.push(this.#offered.subarray(0, bytes));
    this.bytes += bytes;
    this.#wake();
    this.#rests = this.got.length % this.#every === 0;
    if (!this.#rests) return true;
    setTimeout(() => {
      this.#rests = false;
      this.#resume();
    }, 1);
    return false;
  }
  drained(): void {
    // Not of interest.
  }
  closed(reason: string): void {
    this.reason = reason;
    this.#wake();
  }
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => (this.#wake = resolve));
  }
}

const PIECES = 300;
const PIECE = 10_007;
const piece = (n: number): Buffer => Buffer.alloc(PIECE, `${String(n)} `);

test('memory can be offered to sockets of TLS on this version of Node', async () => {
  assert.equal(await offeringWorks(), true);
});

describe('what comes over TLS', { timeout: 60_000 }, () => {
  for (const mode of ['automatic', 'copying'] as const) {
    test(`arrives in order, and rests are kept, ${mode}`, async () => {
      const authority = clusterAuthority('ours');
      const net = await nodeNet(mode);
      let there: Socket | undefined;
      const sink = new Slow(5, () => there?.resume());
      const accepted = (socket: Socket): void => {
        there = socket;
        assert.equal(socket instanceof OfferedSocket, mode === 'automatic');
        // Not at once: the first words are there before anybody wants them.
        setTimeout(() => {
          socket.start(sink);
        }, 20);
      };
      const listener = await net.listen('127.0.0.1', 0, accepted, authority.identity('two'));
      const to = { host: '127.0.0.1', port: listener.port };
      const tls = { ...authority.identity('one'), expect: 'two' };
      const socket = await net.connect(to, { timeout: 20_000, tls });
      socket.start(new Slow(1000, () => undefined));
      for (let n = 0; n < PIECES; n++) socket.write(piece(n));
      await sink.until(() => sink.bytes >= PIECES * PIECE);
      const expected = Buffer.concat(Array.from({ length: PIECES }, (_, n) => piece(n)));
      assert.ok(Buffer.concat(sink.got).equals(expected));
      assert.equal(sink.impatient, 0);
      socket.end();
      await sink.until(() => sink.reason !== undefined);
      await listener.close();
    });
  }
});
