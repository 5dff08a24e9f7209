// The token commands (SBC-3 5.7, 5.46; SPC-4 6.28, 6.31) on the logical unit of cdb-spc.ts. The node's key is 32 times
// 4Bh, its random bytes are 5Ah; the ROD has a number that ends with a counter.
import { createHash, createHmac } from 'node:crypto';
import { LIST_LENGTH, beyondEnd, fixed, invalidCdb, invalidList } from './cdb.ts';
import type { RowVectors } from './cdb.ts';
import { SOFTWARE_WRITE_PROTECTED, WRITE_10, WRITE_PROTECT } from './cdb-spc.ts';
import { h } from './hex.ts';

const KEY = Buffer.alloc(32, 0x4b);
const hex = (value: number, bytes: number): string => value.toString(16).padStart(2 * bytes, '0');
const zeros = (bytes: number): string => '00'.repeat(bytes);

const range = (lba: number, blocks: number): string => h(hex(lba, 8), hex(blocks, 4), zeros(4));
/** POPULATE TOKEN parameter list. */
const pt = (ranges: string, flags = '00', timeout = 0, type = zeros(4)): string => {
  const length = h(ranges).length / 2;
  return h(hex(14 + length, 2), flags, '00', hex(timeout, 4), type, '0000', hex(length, 2), ranges);
};
/** WRITE USING TOKEN parameter list. */
const wut = (token: string, ranges: string, offset = 0, flags = '00'): string => {
  const length = h(ranges).length / 2;
  return h(hex(534 + length, 2), flags, zeros(5), hex(offset, 8), token, zeros(6), hex(length, 2), ranges);
};
const out = (action: string, list: string, id = '00000100'): string =>
  h('83', action, zeros(4), id, hex(h(list).length / 2, 4), '00 00');
const rrti = (allocation = '00000400', id = '00000100'): string => h('84 07', id, zeros(4), allocation, '00 00');

/** The first 96 bytes of a token for these blocks of LUN 0, whose NAA designator is that of the fixtures. */
const NAA = '602474d0123456789abcdef012345678';
const head = (rod: string, blocks: number): string =>
  h('00800000 0000 01f8', rod.slice(0, 16), 'e4 000000 01 03 00 10', NAA, zeros(4), '00 000200', zeros(8), hex(blocks * 512, 8), zeros(32));
const tokenOf = (counter: number, blocks: number): string => {
  const rod = '5a'.repeat(12) + hex(counter, 4);
  const name = Buffer.from('iqn.2025-01.example:disk\0\0\0\0').toString('hex');
  const node = createHash('sha256').update('gemel token').update(KEY).digest('hex').slice(0, 32);
  const body = h(
    ...[head(rod, blocks), '00000200 00 03 c0 00', zeros(24), '53 a8 00 1c', name, zeros(96)],
    ...[node, 'abcdef0123456789', zeros(8), rod, '5a'.repeat(32), zeros(144)],
  );
  return body + createHmac('sha256', KEY).update(Buffer.from(body, 'hex')).digest('hex');
};
/** The answer of RECEIVE ROD TOKEN INFORMATION. */
const answer = (action: string, status: string, blocks: number, token = '', completion = '00', sense = '', counter = 1): string => {
  const descriptors = token === '' ? zeros(4) : h('00000202 0000', token);
  const senseLength = hex(h(sense).length / 2, 1);
  const rest = h(action, status, hex(counter, 2), 'fffffffe', completion, senseLength, senseLength, 'f1', hex(blocks, 8), zeros(8), sense, descriptors);
  return hex(rest.length / 2, 4) + rest;
};

const TWO = range(0x10, 2);
const MADE = `${out('10', pt(TWO))}|${pt(TWO)}`;
const ZERO = h('ffff0001 0000 01f8', zeros(504));
const ranges = (count: number): string => Array.from({ length: count }, (_, i) => range(i * 4, 2)).join('');
const invalidToken = (qualifier: string): string => fixed('05', `23 ${qualifier}`);
const write = (list: string): { cdb: string; data: string } => ({ cdb: out('11', list), data: list });
const populate = (list: string): { cdb: string; data: string } => ({ cdb: out('10', list), data: list });

export const ODX_VECTORS: readonly RowVectors[] = [
  {
    row: 'POPULATE TOKEN',
    usage: h('83 10 00000000 ffffffff ffffffff 1f 00'),
    vectors: [
      { shows: 'a token, which RECEIVE ROD TOKEN INFORMATION tells', ...populate(pt(TWO)), whole: true, then: [`${rrti()}=${answer('10', '01', 2, tokenOf(0, 2))}`] },
      { shows: 'as often as it is asked', ...populate(pt(TWO)), then: [`${rrti()}=${answer('10', '01', 2, tokenOf(0, 2))}`, `${rrti()}=${answer('10', '01', 2, tokenOf(0, 2))}`] },
      { shows: '64 ranges', ...populate(pt(ranges(64))), then: [`${rrti()}=${answer('10', '01', 128, tokenOf(0, 128))}`] },
      { shows: '65 ranges', ...populate(pt(ranges(65))), sense: fixed('05', '26 08', '80000e') },
      { shows: 'no list is no error', cdb: out('10', '') },
      { shows: 'a range of no blocks is no error', ...populate(pt(range(0x10, 0) + TWO)), then: [`${rrti()}=${answer('10', '01', 2, tokenOf(0, 2))}`] },
      { shows: 'a list without its header', cdb: out('10', zeros(15)), data: zeros(15), sense: LIST_LENGTH },
      { shows: 'a data length below 001Eh', cdb: out('10', pt(TWO)), data: h('001d', pt(TWO).slice(4)), sense: invalidList(0) },
      { shows: 'less than one range', cdb: out('10', pt(TWO)), data: h('001e', zeros(12), '000f', TWO), sense: invalidList(14) },
      { shows: 'a point in time, named', ...populate(pt(TWO, '02', 0, '00800000')), then: [`${rrti()}=${answer('10', '01', 2, tokenOf(0, 2))}`] },
      { shows: 'any point in time', ...populate(pt(TWO, '02', 0, '0080ffff')) },
      { shows: 'access upon reference, which there is not', ...populate(pt(TWO, '02', 0, '00010000')), sense: invalidList(8) },
      { shows: 'the type counts only with RTV', ...populate(pt(TWO, '00', 0, '00010000')) },
      { shows: 'the longest timeout', ...populate(pt(TWO, '00', 600)) },
      { shows: 'a longer one', ...populate(pt(TWO, '00', 601)), sense: invalidList(4) },
      { shows: 'the same block twice', ...populate(pt(range(0x10, 2) + range(0x11, 1))), sense: invalidList(16) },
      { shows: 'beyond the last block', ...populate(pt(range(0x7ff, 2))), sense: beyondEnd('000007ff') },
    ],
  },
  {
    row: 'WRITE USING TOKEN',
    usage: h('83 11 00000000 ffffffff ffffffff 1f 00'),
    vectors: [
      { shows: 'two blocks', before: [WRITE_10('c6'), MADE], ...write(wut(tokenOf(0, 2), range(0x20, 2))), medium: [[0x1f, '00'], [0x20, 'c6'], [0x21, '00']], whole: true },
      { shows: 'what was there when the token was made', before: [WRITE_10('c6'), MADE, WRITE_10('77')], ...write(wut(tokenOf(0, 2), range(0x20, 2))), medium: [[0x10, '77'], [0x20, 'c6']] },
      { shows: 'from an offset', before: [WRITE_10('c6'), MADE], ...write(wut(tokenOf(0, 2), range(0x10, 1), 1)), medium: [[0x10, '00']] },
      { shows: 'an offset at the end', before: [MADE], ...write(wut(tokenOf(0, 2), range(0x20, 1), 2)), sense: invalidList(8) },
      { shows: 'more than the token has: as much as there is', before: [WRITE_10('c6'), MADE], ...write(wut(tokenOf(0, 2), range(0x20, 3))), sense: fixed('05', '0d 04', '000000', '00000002'), medium: [[0x20, 'c6']], then: [`${rrti()}=${answer('11', '03', 2, '', '02', fixed('05', '0d 04', '000000', '00000002'))}`] },
      { shows: 'zeros', before: [WRITE_10('c6')], ...write(wut(ZERO, TWO)), medium: [[0x10, '00']], then: [`${rrti()}=${answer('11', '01', 2)}`] },
      { shows: 'no list is no error', cdb: out('11', '') },
      { shows: 'IMMED', before: [WRITE_10('c6'), MADE], ...write(wut(tokenOf(0, 2), range(0x20, 2), 0, '01')), medium: [[0x20, 'c6']], then: [`${rrti()}=${answer('11', '01', 2)}`] },
      { shows: 'DEL_TKN', before: [WRITE_10('c6'), MADE], ...write(wut(tokenOf(0, 2), range(0x20, 2), 0, '02')), medium: [[0x20, 'c6']], then: [`${out('11', wut(tokenOf(0, 2), TWO))}|${wut(tokenOf(0, 2), TWO)}!${invalidToken('09')}`] },
      { shows: '65 ranges', ...write(wut(ZERO, ranges(65))), sense: fixed('05', '26 08', '800216') },
      { shows: 'the same block twice', ...write(wut(ZERO, range(0x10, 2) + range(0x11, 1))), sense: invalidList(536) },
      { shows: 'beyond the last block', ...write(wut(ZERO, range(0x7ff, 2))), sense: beyondEnd('000007ff') },
      { shows: 'lengths that do not agree', cdb: out('11', wut(ZERO, TWO)), data: h('0227', wut(ZERO, TWO).slice(4)), sense: invalidList(0) },
      { shows: 'a data length below 0226h', cdb: out('11', wut(ZERO, TWO)), data: h('0225', wut(ZERO, TWO).slice(4)), sense: invalidList(0) },
      { shows: 'a type that is no token', ...write(wut(zeros(512), TWO)), sense: invalidToken('01') },
      { shows: 'a token of another length', ...write(wut(h('ffff0001 0000 01f7', zeros(504)), TWO)), sense: invalidToken('0a') },
      { shows: 'a token of another node', ...write(wut(h('00800000 0000 01f8', zeros(504)), TWO)), sense: invalidToken('04') },
      { shows: 'a token that was changed', before: [MADE], ...write(wut(h('00800000 0000 01f8 00', tokenOf(0, 2).slice(18)), TWO)), sense: invalidToken('05') },
      { shows: 'a token that was never made, or is forgotten', ...write(wut(tokenOf(9, 2), TWO)), sense: invalidToken('07') },
      { shows: 'software write protect', before: [WRITE_PROTECT], ...write(wut(ZERO, TWO)), sense: SOFTWARE_WRITE_PROTECTED },
    ],
  },
  {
    row: 'RECEIVE ROD TOKEN INFORMATION',
    usage: h('84 07 ffffffff 00000000 ffffffff 00 00'),
    vectors: [
      { shows: 'cut off', before: [MADE], cdb: rrti('00000005'), in: answer('10', '01', 2, tokenOf(0, 2)).slice(0, 10), then: [`${rrti()}=${answer('10', '01', 2, tokenOf(0, 2))}`] },
      { shows: 'asking for nothing forgets it', before: [MADE], cdb: rrti('00000000'), then: [`${rrti()}!${invalidCdb(2)}`] },
      { shows: 'a number nobody used', before: [MADE], cdb: rrti('00000400', '00000101'), sense: invalidCdb(2) },
      { shows: 'a number of another nexus', before: [MADE], from: 'b', cdb: rrti(), sense: invalidCdb(2) },
      { shows: 'a number that was used again', before: [MADE, `${out('11', wut(ZERO, TWO))}|${wut(ZERO, TWO)}`], cdb: rrti(), in: answer('11', '01', 2) },
    ],
  },
  {
    row: 'REPORT ALL ROD TOKENS',
    usage: h('84 08 0000000000000000 ffffffff 00 00'),
    vectors: [
      { shows: 'none', cdb: h('84 08', zeros(8), '00000400 00 00'), in: h('00000004', zeros(4)) },
      { shows: 'one, without what makes it valid', before: [MADE], cdb: h('84 08', zeros(8), '00000400 00 00'), in: h('00000064', zeros(4), head('5a'.repeat(12) + hex(0, 4), 2)) },
    ],
  },
];
