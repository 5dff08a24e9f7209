import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { FRAME_HEAD, FrameError, FrameFlag, FrameReader } from '../../../core/mirror/wire/frame.ts';
import { frameHead } from '../../support/frame-head.ts';
import type { Frame } from '../../../core/mirror/wire/frame.ts';

/** Everything `bytes` says to a fresh reader, in pieces of at most `step` bytes. */
function read(bytes: Buffer, step = 65_536): Frame[] {
  const frames: Frame[] = [];
  // What is small is lent for the call.
  const reader = new FrameReader(({ header, payload, ...rest }) =>
    frames.push({ ...rest, header: Buffer.from(header), payload: Buffer.from(payload) }),
  );
  for (let at = 0; at < bytes.length;) {
    const room = reader.buffer();
    const n = bytes.copy(room, 0, at, Math.min(at + step, at + room.length, bytes.length));
    reader.received(n);
    at += n;
  }
  return frames;
}

const whole = (number: number, header: string, payload: string, type = 0x21, flags = 0, id = 7): Buffer => {
  const pieces = payload === '' ? [] : [Buffer.from(payload.slice(0, 3)), Buffer.from(payload.slice(3))];
  return Buffer.concat([frameHead(type, flags, id, number, Buffer.from(header), pieces), ...pieces]);
};

describe('frames between nodes', () => {
  test('the layout, byte by byte', () => {
    assert.equal(
      whole(1, '{}', 'payload').toString('hex'),
      '474d4c5001210000' +
        '0000000700000001' +
        '0000000200000007' +
        'f4e36970' +
        '6b815e25' +
        '7b7d' +
        '7061796c6f6164',
    );
  });

  test('split at every byte, they are the same', () => {
    const bytes = Buffer.concat([
      whole(0, 'one', ''),
      whole(1, '', 'payload'),
      whole(2, 'x'.repeat(900), 'y'.repeat(900)),
    ]);
    for (let step = 1; step < 60; step++) {
      const frames = read(bytes, step);
      assert.deepEqual(
        frames.map((each) => [each.header.length, each.payload.length, each.id, each.type]),
        [
          [3, 0, 7, 0x21],
          [0, 7, 7, 0x21],
          [900, 900, 7, 0x21],
        ],
      );
      assert.equal(frames[1]?.payload.toString(), 'payload');
    }
  });

  test('payloads larger than the receive memory arrive whole', () => {
    const large = Buffer.alloc(1_000_000, 'abcdefg');
    const bytes = Buffer.concat([
      frameHead(1, FrameFlag.answer, 1, 0, Buffer.alloc(0), [large]),
      large,
      whole(1, 'z', ''),
    ]);
    const [first, second] = read(bytes, 70_000);
    assert.ok(first?.payload.equals(large));
    assert.equal(second?.header.toString(), 'z');
  });

  test('repeated, left out, reordered frames are found', () => {
    const [a, b, c] = [whole(0, 'a', ''), whole(1, 'b', ''), whole(2, 'c', '')];
    for (const order of [[a, a], [a, c], [b], [a, c, b]]) assert.throws(() => read(Buffer.concat(order)), FrameError);
  });

  test('every flipped bit is found', () => {
    const bytes = whole(0, 'header', 'payload');
    fc.assert(
      fc.property(fc.integer({ min: 0, max: bytes.length * 8 - 1 }), (bit) => {
        const bad = Buffer.from(bytes);
        bad.writeUInt8(bad.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
        let frames: Frame[] = [];
        try {
          frames = read(bad);
        } catch (error) {
          assert.ok(error instanceof FrameError);
        }
        // A length that grew waits for bytes that never come; nothing is delivered either way.
        assert.deepEqual(frames, []);
      }),
    );
  });

  test('garbage is refused at its fourth byte, whatever it is', () => {
    assert.throws(() => read(Buffer.from('GET ')), FrameError);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 4, maxLength: 4000 }), (garbage) => {
        const bytes = Buffer.from(garbage);
        if (bytes.toString('latin1', 0, 4) !== 'GMLP') assert.throws(() => read(bytes), FrameError);
      }),
    );
  });

  test('lengths are bounded', () => {
    assert.throws(() => frameHead(1, 0, 1, 0, Buffer.alloc(65_537), []), RangeError);
    const bytes = whole(0, '', '');
    bytes.writeUInt32BE(0xffff_ffff, 20);
    assert.throws(() => read(bytes), FrameError);
    assert.equal(bytes.length, FRAME_HEAD);
  });
});
