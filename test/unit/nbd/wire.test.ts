import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  NbdProtocolError,
  decodeContextRequest,
  decodeGreeting,
  decodeInfo,
  decodeInfoRequest,
  decodeOption,
  decodeOptionReply,
  encodeBlockSizes,
  encodeContextRequest,
  encodeExportInfo,
  encodeGreeting,
  encodeInfoRequest,
  encodeOption,
  encodeOptionReply,
} from '../../../core/nbd/wire/options.ts';
import {
  CHUNK_HEADER,
  dataChunk,
  decodeChunk,
  decodeDescriptors,
  decodeError,
  decodeRequest,
  encodeErrorChunk,
  encodeRequest,
  encodeStatusChunk,
  simpleReply,
} from '../../../core/nbd/wire/transmission.ts';

const hex = (bytes: Buffer): string => bytes.toString('hex');

describe('NBD on the wire', () => {
  test('the greeting', () => {
    const bytes = encodeGreeting(3);
    assert.equal(hex(bytes), '4e42444d41474943' + '49484156454f5054' + '0003');
    assert.equal(decodeGreeting(bytes), 3);
    const oldstyle = Buffer.from('4e42444d41474943' + '00420281861253' + '00'.repeat(3), 'hex');
    assert.throws(() => decodeGreeting(oldstyle), NbdProtocolError);
    assert.throws(() => decodeGreeting(Buffer.from('HTTP/1.1 400 Bad R')), NbdProtocolError);
  });

  test('options and their answers', () => {
    const option = encodeOption(7, Buffer.from('ab'));
    assert.equal(hex(option), '49484156454f5054' + '00000007' + '00000002' + '6162');
    assert.deepEqual(decodeOption(option, 0), { option: 7, length: 2 });
    const reply = encodeOptionReply(7, 0x8000_0006, Buffer.from('no'));
    assert.equal(hex(reply), '0003e889045565a9' + '00000007' + '80000006' + '00000002' + '6e6f');
    assert.deepEqual(decodeOptionReply(reply, 0), { option: 7, type: 0x8000_0006, length: 2 });
    assert.throws(() => decodeOption(Buffer.alloc(16), 0), NbdProtocolError);
    assert.throws(() => decodeOptionReply(Buffer.alloc(20), 0), NbdProtocolError);
  });

  test('requests for an export, cut anywhere, are refused', () => {
    const info = encodeInfoRequest('a/ü', [0, 3]);
    assert.deepEqual(decodeInfoRequest(info), { name: 'a/ü', wanted: [0, 3] });
    const context = encodeContextRequest('disk', ['base:allocation', 'qemu:x']);
    assert.deepEqual(decodeContextRequest(context), { name: 'disk', queries: ['base:allocation', 'qemu:x'] });
    for (let end = 0; end < info.length; end++) assert.equal(decodeInfoRequest(info.subarray(0, end)), undefined);
    for (let end = 0; end < context.length; end++) {
      assert.equal(decodeContextRequest(context.subarray(0, end)), undefined);
    }
    const many = Buffer.from(context);
    many.writeUInt32BE(0xffff_ffff, 8);
    assert.equal(decodeContextRequest(many), undefined);
  });

  test('what the server says of an export', () => {
    assert.equal(hex(encodeExportInfo(0x1_0000_0200, 0x5ed)), '0000' + '0000000100000200' + '05ed');
    assert.deepEqual(decodeInfo(encodeExportInfo(1024, 5)), { kind: 'export', size: 1024, flags: 5 });
    const sizes = { minimum: 512, preferred: 4096, maximum: 33_554_432 };
    assert.deepEqual(decodeInfo(encodeBlockSizes(sizes)), { kind: 'block-size', ...sizes });
    assert.throws(() => decodeInfo(encodeBlockSizes({ ...sizes, minimum: 3 })), NbdProtocolError);
    assert.throws(() => decodeInfo(encodeBlockSizes({ ...sizes, maximum: 1 })), NbdProtocolError);
    assert.throws(() => decodeInfo(Buffer.from([0])), NbdProtocolError);
    const huge = encodeExportInfo(0, 0);
    huge.fill(0xff, 2, 10);
    assert.throws(() => decodeInfo(huge), NbdProtocolError);
  });

  test('requests', () => {
    const request = { flags: 1, type: 1, cookie: 0x1122334455667788n, position: 0x2_0000_0400, length: 4096 };
    const bytes = encodeRequest(request);
    assert.equal(hex(bytes), '25609513' + '0001' + '0001' + '1122334455667788' + '0000000200000400' + '00001000');
    assert.deepEqual(decodeRequest(bytes, 0), request);
    assert.throws(() => decodeRequest(Buffer.alloc(28), 0), NbdProtocolError);
  });

  test('replies', () => {
    const simple = Buffer.alloc(16);
    simpleReply(simple, 0, 7n, 5);
    assert.equal(hex(simple), '67446698' + '00000005' + '0000000000000007');
    const data = Buffer.alloc(28);
    dataChunk(data, 0, 7n, 512, 1024);
    assert.equal(hex(data), '668e33ef' + '0001' + '0001' + '0000000000000007' + '00000408' + '0000000000000200');
    assert.deepEqual(decodeChunk(data, 0), { done: true, type: 1, cookie: 7n, length: 1032 });
    const failed = encodeErrorChunk(9n, 28, 'full');
    assert.deepEqual(decodeError(failed.subarray(CHUNK_HEADER)), { error: 28, message: 'full' });
    const runs = [
      { length: 512, flags: 3 },
      { length: 1024, flags: 0 },
    ];
    const status = encodeStatusChunk(9n, 1, runs).subarray(CHUNK_HEADER);
    assert.deepEqual(decodeDescriptors(status), { context: 1, descriptors: runs });
    assert.throws(() => decodeDescriptors(status.subarray(0, 10)), NbdProtocolError);
    assert.throws(() => decodeDescriptors(Buffer.alloc(12)), NbdProtocolError);
    assert.throws(() => decodeError(Buffer.from([0, 0, 0, 1, 0, 9])), NbdProtocolError);
  });
});
