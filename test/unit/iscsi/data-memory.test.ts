// Memory for pieces of written data: used again, but never while somebody has it.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MAX_RECV_DATA_SEGMENT, SPARE_PIECES } from '../../../core/base/limits.ts';
import { MEMORY_ALIGNMENT, addressOf } from '../../../core/base/memory-address.ts';
import { DataMemory } from '../../../core/iscsi/data-memory.ts';
import { learnAsyncReads } from '../../../core/world/async-reads.ts';

// It tells where memory lies; without it nothing goes past the page cache.
await learnAsyncReads();
const PDU = Buffer.alloc(48 + MAX_RECV_DATA_SEGMENT, 0x11);

describe('pieces of written data', () => {
  it('are copies, in memory that is used again when they are over, and not before', () => {
    const memory = new DataMemory(1 << 30);
    const first = memory.piece(PDU, 48, MAX_RECV_DATA_SEGMENT);
    const second = memory.piece(PDU, 48, MAX_RECV_DATA_SEGMENT);
    assert.notEqual(first.buffer, second.buffer);
    assert.deepEqual(first, PDU.subarray(48));
    // Aligned memory would go past the page cache.
    for (const each of [first, second]) assert.notEqual((addressOf(each) ?? 1) % MEMORY_ALIGNMENT, 0);
    memory.pieceOver(first);
    const third = memory.piece(Buffer.alloc(PDU.length, 0x22), 48, MAX_RECV_DATA_SEGMENT);
    assert.equal(third, first);
    assert.equal(third[0], 0x22);
    assert.equal(second[0], 0x11);
    assert.notEqual(memory.piece(PDU, 48, MAX_RECV_DATA_SEGMENT), third);
  });

  it('of other lengths have memory of their own, and not more is kept than the limit says', () => {
    const memory = new DataMemory(1 << 30);
    const short = memory.piece(PDU, 48, 4096);
    assert.equal(short.length, 4096);
    memory.pieceOver(short);
    const many = Array.from({ length: SPARE_PIECES + 1 }, () => memory.piece(PDU, 48, MAX_RECV_DATA_SEGMENT));
    for (const each of many) memory.pieceOver(each);
    const again = many.map(() => memory.piece(PDU, 48, MAX_RECV_DATA_SEGMENT));
    assert.equal(again.filter((each) => many.includes(each)).length, SPARE_PIECES);
  });
});
