import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { rangeRequest, txnRequest, watchResponse } from '../../../core/cluster/etcd/messages.ts';
import { MessageReader, MessageWriter } from '../../../core/cluster/etcd/protobuf.ts';

describe('Protocol Buffers', () => {
  it('are written as the encoding guide and protoc say', () => {
    // protobuf.dev/programming-guides/encoding: field 1 with 150, field 2 with "testing", field 3 with the first one inside.
    assert.equal(new MessageWriter().number(1, 150).finish().toString('hex'), '089601');
    assert.equal(new MessageWriter().bytes(2, 'testing').finish().toString('hex'), '120774657374696e67');
    assert.equal(
      new MessageWriter().message(3, new MessageWriter().number(1, 150)).finish().toString('hex'),
      '1a03089601',
    );
    assert.equal(new MessageWriter().number(1, 0).flag(2, false).bytes(3, '').finish().length, 0);
    const id = 0xfedc_ba98_7654_3210n;
    assert.equal(new MessageReader(new MessageWriter().number(1, id).finish()).id(1), id);
  });

  it('make the requests of etcd', () => {
    assert.equal(rangeRequest({ key: 'a', end: 'b', limit: 5 }).toString('hex'), '0a016112016218' + '05');
    const compares = [{ key: 'k', modRevision: 7 }];
    const value = Buffer.from('v');
    // compare { target: MOD, key: "k", mod_revision: 7 }, success { request_put { key: "k", value: "v" } }
    const put = txnRequest(compares, [{ put: { key: 'k', value } }]).toString('hex');
    assert.equal(put, '0a0710021a016b3007' + '12081206' + '0a016b120176');
  });

  it('are read back, whatever else is in the message', () => {
    const inner = fc.record({ key: fc.string(), revision: fc.nat(), isDeleted: fc.boolean() });
    fc.assert(
      fc.property(fc.array(inner, { maxLength: 5 }), fc.nat(), (events, revision) => {
        const message = new MessageWriter().message(1, new MessageWriter().number(3, revision)).number(200, 9);
        for (const { key, revision, isDeleted } of events) {
          const kv = new MessageWriter().bytes(1, key).number(3, revision).bytes(5, 'x');
          message.message(11, new MessageWriter().number(1, isDeleted ? 1 : 0).message(2, kv));
        }
        const read = watchResponse(message.finish());
        assert.equal(read.revision, revision);
        assert.deepEqual(
          read.events.map(({ key, modRevision, value }) => ({ key, modRevision, value: value?.toString() })),
          events.map(({ key, revision, isDeleted }) => ({
            key: Buffer.from(key).toString(),
            modRevision: revision,
            value: isDeleted ? undefined : 'x',
          })),
        );
      }),
    );
  });

  it('that are none are refused with a RangeError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          watchResponse(Buffer.from(bytes));
        } catch (error) {
          assert.ok(error instanceof RangeError, String(error));
        }
      }),
      { numRuns: 2_000 },
    );
    for (const hex of ['08', '0aff', '0b', '08ffffffffffffffffffffff01', '12ffffffffffffffff7f'])
      assert.throws(() => new MessageReader(Buffer.from(hex, 'hex')), RangeError, hex);
  });
});
