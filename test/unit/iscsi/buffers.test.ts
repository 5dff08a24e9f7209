import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Socket } from '../../../core/base/world.ts';
import { AnswerMemory } from '../../../core/iscsi/answer-memory.ts';
import { DataMemory } from '../../../core/iscsi/data-memory.ts';
import { ReceiveBuffer, ReceivePool } from '../../../core/iscsi/receive.ts';
import { SendBuffer, SlabPool } from '../../../core/iscsi/send-buffer.ts';
import { lunOf } from '../../../core/iscsi/lun.ts';
import { serialAfter, serialNext } from '../../../core/iscsi/serial.ts';

/** A socket that takes everything, or nothing until told. */
class FakeSocket implements Socket {
  readonly remoteAddress = '';
  readonly remotePort = 0;
  readonly localAddress = '';
  readonly localPort = 0;
  unsent = 0;
  stuck = false;
  readonly written: Buffer[] = [];
  start(): void {
    throw new Error('not used');
  }
  write(data: Buffer): void {
    this.written.push(data);
    if (this.stuck) this.unsent += data.length;
  }
  writeAll(pieces: readonly Buffer[]): void {
    for (const each of pieces) this.write(each);
  }
  resume(): void {
    throw new Error('not used');
  }
  end(): void {
    throw new Error('not used');
  }
  destroy(): void {
    throw new Error('not used');
  }
  get sent(): Buffer {
    return Buffer.concat(this.written);
  }
}

const plenty = (): AnswerMemory => new AnswerMemory(1_073_741_824, setImmediate);

describe('receive buffer', () => {
  test('a stream cut anywhere comes out whole, however little is parsed each time', () => {
    const stream = Buffer.from(Array.from({ length: 5000 }, (_, i) => i & 0xff));
    for (const step of [1, 7, 48, 333, 4096]) {
      const receive = new ReceiveBuffer(new ReceivePool());
      const out: Buffer[] = [];
      for (let at = 0; at < stream.length; at += step) {
        const piece = stream.subarray(at, at + step);
        piece.copy(receive.room());
        receive.filled(piece.length);
        while (receive.length >= 48) {
          out.push(Buffer.from(receive.bytes.subarray(receive.start, receive.start + 48)));
          receive.start += 48;
        }
        receive.settle();
      }
      out.push(Buffer.from(receive.bytes.subarray(receive.start, receive.end)));
      assert.deepEqual(Buffer.concat(out), stream);
    }
  });

  test('headers are told from what brings data, wherever that is', () => {
    for (const size of [48, 52]) {
      const receive = new ReceiveBuffer(new ReceivePool());
      const feed = (bytes: Buffer): boolean => {
        bytes.copy(receive.room());
        receive.filled(bytes.length);
        return receive.isHeaders(size);
      };
      // The beginning of one more at the end; the rest of a header says nothing.
      const headers = Buffer.alloc(10 * size + 4, 0xff);
      for (let i = 0; i < 10; i++) headers.fill(0, i * size + 4, i * size + 8);
      assert.ok(feed(headers));
      for (const at of [5, 4 * size + 4, 9 * size + 7]) {
        const other = Buffer.from(headers);
        other[at] = 1;
        assert.ok(!feed(other), String(at));
      }
    }
  });

  test('connections that stop in the middle of a PDU do not disturb each other', () => {
    const pool = new ReceivePool();
    const a = new ReceiveBuffer(pool);
    const b = new ReceiveBuffer(pool);
    const feed = (receive: ReceiveBuffer, text: string): void => {
      const bytes = Buffer.from(text);
      bytes.copy(receive.room());
      receive.filled(bytes.length);
      receive.settle();
    };
    feed(a, 'first half of a,');
    feed(b, 'first half of b,');
    feed(a, 'second half of a');
    feed(b, 'second half of b');
    assert.equal(a.bytes.toString('latin1', a.start, a.end), 'first half of a,second half of a');
    assert.equal(b.bytes.toString('latin1', b.start, b.end), 'first half of b,second half of b');
  });
});

describe('send buffer', () => {
  const fill = (send: SendBuffer, text: string): void => {
    const at = send.reserve(text.length);
    send.slab.write(text, at, 'latin1');
  };

  test('headers, copies and slices leave in order', () => {
    const socket = new FakeSocket();
    const send = new SendBuffer(socket, new SlabPool(), plenty());
    fill(send, 'head1');
    send.append(Buffer.from('slice1'));
    fill(send, 'head2copy2');
    fill(send, 'head3');
    send.append(Buffer.from('slice3'));
    send.flush();
    assert.equal(socket.sent.toString(), 'head1slice1head2copy2head3slice3');
    assert.equal(send.waiting, 0);
  });

  test('a reservation taken back leaves no trace', () => {
    const socket = new FakeSocket();
    const send = new SendBuffer(socket, new SlabPool(), plenty());
    fill(send, 'kept');
    const at = send.reserve(100);
    send.unreserve(at);
    fill(send, 'also');
    send.flush();
    assert.equal(socket.sent.toString(), 'keptalso');
  });

  test('half a batch leaves early when it is worth a send, and only when nothing has left yet', () => {
    const socket = new FakeSocket();
    const send = new SendBuffer(socket, new SlabPool(), plenty());
    const before = send.sent;
    fill(send, 'small');
    send.flushHalf(before);
    assert.equal(socket.written.length, 0);
    fill(send, 'x'.repeat(65_536));
    send.flushHalf(before);
    assert.equal(socket.written.length, 1);
    fill(send, 'y'.repeat(65_536));
    send.flushHalf(before);
    assert.equal(socket.written.length, 1);
  });

  test('answers of equal and of other sizes are sent as they are', () => {
    const socket = new FakeSocket();
    const send = new SendBuffer(socket, new SlabPool(), plenty());
    let expected = '';
    for (const text of ['one', 'two', 'three', 'six', 'seven']) {
      fill(send, text);
      expected += text;
      socket.stuck = text === 'three';
      // The network may still hold what it was given: only then is memory not used again at once.
      const seen = socket.written.length;
      send.flush();
      assert.equal(socket.written[seen]?.toString(), text);
    }
    assert.equal(send.sent, expected.length);
  });

  test('a slab is not reused while the network holds it, and comes back afterwards', () => {
    const pool = new SlabPool();
    const socket = new FakeSocket();
    const send = new SendBuffer(socket, pool, plenty());
    socket.stuck = true;
    const first = 'a'.repeat(900_000);
    fill(send, first);
    send.flush();
    for (let i = 0; i < 4; i++) {
      fill(send, String.fromCharCode(98 + i).repeat(900_000));
      send.flush();
    }
    assert.equal(socket.sent.toString('latin1', 0, 900_000), first);
    assert.ok(pool.inUse >= 5);
    socket.unsent = 0;
    send.drained();
    assert.equal(pool.inUse, 1);
  });
});

describe('data memory', () => {
  test('data that may never come leaves a reserve to the reads, however small its pieces', () => {
    const memory = new DataMemory(1000, 250);
    let pieces = 0;
    while (memory.tryGather(10)) pieces++;
    assert.equal(pieces, 75);
    assert.equal(memory.take(250), undefined, 'a read waits for hoarders');
    memory.giveBack(250);
    memory.giveBackGathered(10);
    assert.ok(memory.tryGather(10));
    assert.ok(!memory.tryGather(10));
    assert.ok(memory.tryGather(0), 'a command without data needs nothing');
  });

  test('gives in order, and a large request is not overtaken', async () => {
    const memory = new DataMemory(100);
    const order: string[] = [];
    assert.equal(memory.take(60), undefined);
    const large = memory.take(80)?.then(() => order.push('large'));
    const small = memory.take(10)?.then(() => order.push('small'));
    assert.ok(large !== undefined && small !== undefined);
    assert.equal(memory.tryTake(1), false);
    memory.giveBack(60);
    await large;
    await small;
    assert.deepEqual(order, ['large', 'small']);
    assert.equal(memory.used, 90);
  });

  test('a request above the limit passes alone', async () => {
    const memory = new DataMemory(100);
    assert.ok(memory.tryTake(50));
    const huge = memory.take(1000);
    assert.ok(huge !== undefined);
    memory.giveBack(50);
    await huge;
    assert.equal(memory.used, 1000);
  });
});

test('serial numbers wrap around', () => {
  assert.equal(serialNext(0xffff_ffff), 0);
  assert.ok(serialAfter(0, 0xffff_ffff));
  assert.ok(!serialAfter(0xffff_ffff, 0));
  assert.ok(!serialAfter(5, 5));
});

test('LUN addressing: peripheral and flat are the same number, everything else is none', () => {
  const lun = (hex: string): number | undefined => lunOf(Buffer.from(hex, 'hex'), 0);
  assert.equal(lun('0005000000000000'), 5);
  assert.equal(lun('4005000000000000'), 5);
  assert.equal(lun('4123000000000000'), 0x123);
  assert.equal(lun('0105000000000000'), undefined);
  assert.equal(lun('0005000100000000'), undefined);
  assert.equal(lun('c101000000000000'), undefined);
});
