// The messages of libvirt's RPC, held against what virsh 9.0.0 and libvirtd 9.0.0 said to each other.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Codec } from '../../../plugins/kvm/rpc/codec.ts';
import { LibvirtError, readError, writeError } from '../../../plugins/kvm/rpc/errors.ts';
import { Framer, MessageStatus, PROGRAM_KEEPALIVE, encodeFrame } from '../../../plugins/kvm/rpc/frame.ts';
import type { Frame } from '../../../plugins/kvm/rpc/frame.ts';
import * as procedures from '../../../plugins/kvm/rpc/procedures.ts';
import { error } from '../../../plugins/kvm/rpc/types.ts';
import { XdrReader, XdrWriter } from '../../../plugins/kvm/rpc/xdr.ts';
import { ProtocolError } from '../../../core/base/errors.ts';
import { projectFile } from '../../support/project.ts';

interface Captured {
  readonly way: 'call' | 'answer';
  readonly program: string;
  readonly procedure: number;
  readonly type: number;
  readonly status: number;
  readonly serial: number;
  readonly body: string;
}

const captured = readFileSync(projectFile('test', 'vectors', 'libvirt-rpc.jsonl'), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Captured);

const frameOf = (each: Captured): Frame => ({
  ...each,
  program: parseInt(each.program, 16),
  version: 1,
  body: Buffer.from(each.body, 'hex'),
});

const EVENTS: Readonly<Record<number, Codec<unknown>>> = {
  [procedures.EVENT.poolLifecycle]: procedures.poolLifecycle,
  [procedures.EVENT.poolRefresh]: procedures.poolRefreshed,
  [procedures.EVENT.domainLifecycle]: procedures.domainLifecycle,
  [procedures.EVENT.deviceRemoved]: procedures.deviceRemoved,
};

function codecOf(each: Captured): Codec<unknown> | undefined {
  if (each.type === 2) return EVENTS[each.procedure];
  const found = procedures.PROCEDURES.find(({ number }) => number === each.procedure);
  if (each.status === MessageStatus.error) return error;
  return each.way === 'call' ? found?.args : found?.reply;
}

const read = <T>(codec: Codec<T>, body: Buffer): T => {
  const xdr = new XdrReader(body);
  const value = codec.read(xdr);
  xdr.end();
  return value;
};

describe('what was captured', () => {
  test('is read, and written again as it was', () => {
    const seen = new Set<number>();
    for (const each of captured) {
      const codec = codecOf(each);
      if (each.program === PROGRAM_KEEPALIVE.toString(16)) continue;
      assert.ok(codec, `procedure ${String(each.procedure)}`);
      const xdr = new XdrWriter();
      codec.write(xdr, read(codec, Buffer.from(each.body, 'hex')));
      assert.equal(xdr.bytes.toString('hex'), each.body, `procedure ${String(each.procedure)}`);
      seen.add(each.procedure);
    }
    assert.ok(seen.size >= 38, String(seen.size));
  });

  test('says what virsh was asked and told', () => {
    const find = (way: string, procedure: number, status = 0): Buffer => {
      const found = captured.find((each) => each.way === way && each.procedure === procedure && each.status === status);
      return Buffer.from(found?.body ?? '', 'hex');
    };
    const pool = { name: 'golden', uuid: 'aaaaaaaa-bbbb-5ccc-8ddd-eeeeeeeeeeee' };
    assert.deepEqual(read(procedures.poolStart.args, find('call', 78)), { pool, flags: 0 });
    const { volumes, count } = read(procedures.listVolumes.reply, find('answer', 282));
    assert.equal(count, 1);
    assert.equal(volumes[0]?.name, 'unit:0:0:0');
    assert.match(volumes[0].key, /^ip-127\.0\.0\.1:33260-iscsi-iqn\..*-lun-0$/);
    // One block less than there is: libvirt takes the last address for a count.
    assert.equal(read(procedures.volumeInfo.reply, find('answer', 98)).capacity, 64 * 1_048_576 - 512);
    const { secret, value } = read(procedures.secretSetValue.args, find('call', 144));
    assert.equal(secret.usageType, 3);
    assert.equal(Buffer.from(value).toString(), 'golden-secret-01');
    const refused = readError(new XdrReader(find('answer', 84, 1)));
    assert.equal(refused.number, 49);
    assert.equal(refused.code, 'not-found');
    assert.match(refused.message, /no storage pool with matching name 'nothere'/);
    const event = read(procedures.poolLifecycle, find('answer', 370));
    assert.deepEqual(event.pool, pool);
    assert.equal(read(procedures.deviceRemoved, find('answer', 333)).alias, 'scsi0-0-0-0');
  });

  test('is found in a stream however it is cut', () => {
    const frames = captured.map(frameOf);
    const stream = Buffer.concat(frames.map((frame) => encodeFrame(frame, frame.body)));
    const expected = frames.map(({ procedure, serial, body }) => [procedure, serial, body.toString('hex')]);
    const told = (framer: Framer, parts: readonly Buffer[]): unknown =>
      parts
        .flatMap((part) => framer.push(part))
        .map(({ procedure, serial, body }) => [procedure, serial, body.toString('hex')]);
    assert.deepEqual(told(new Framer(), [stream]), expected);
    assert.deepEqual(
      told(
        new Framer(),
        Array.from(stream, (byte) => Buffer.of(byte)),
      ),
      expected,
    );
    fc.assert(
      fc.property(fc.array(fc.nat(stream.length), { maxLength: 40 }), (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), stream.length];
        const parts = at.slice(1).map((end, i) => stream.subarray(at[i], end));
        assert.deepEqual(told(new Framer(), parts), expected);
      }),
      { numRuns: 30 },
    );
  });

  test('that ends too early, or has too much, is refused by every procedure', () => {
    for (const each of captured) {
      const codec = codecOf(each);
      const body = Buffer.from(each.body, 'hex');
      if (codec === undefined || body.length === 0) continue;
      for (let length = 0; length < body.length; length += Math.max(1, body.length >> 5)) {
        assert.throws(() => read(codec, body.subarray(0, length)), ProtocolError);
      }
      assert.throws(() => read(codec, Buffer.concat([body, Buffer.alloc(4)])), ProtocolError);
    }
  });
});

describe('what is no message', () => {
  test('ends the stream before anything is kept for it', () => {
    for (const length of [0, 27, 33_554_432 + 29, 0xffff_ffff]) {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(length);
      assert.throws(() => new Framer().push(bytes), ProtocolError, String(length));
    }
  });

  test('never does more than throw', () => {
    const all = [...procedures.PROCEDURES.flatMap(({ args, reply }) => [args, reply]), error, ...Object.values(EVENTS)];
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(all.length - 1), (bytes, i) => {
        try {
          read(all[i] as Codec<unknown>, Buffer.from(bytes));
        } catch (thrown) {
          assert.ok(thrown instanceof ProtocolError, String(thrown));
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('a list whose length lies', () => {
    const xdr = new XdrWriter().uint(16_000).uint(1);
    assert.throws(() => read(procedures.authList.reply, xdr.bytes), /a list of 16000 entries in 4 bytes/);
  });
});

test('an error is written as it is read', () => {
  const xdr = new XdrWriter();
  writeError(xdr, 90, 18, 'storage volume name exists');
  const back = readError(new XdrReader(xdr.bytes));
  assert.ok(back instanceof LibvirtError);
  assert.equal(back.code, 'exists');
  assert.equal(back.domain, 18);
});
