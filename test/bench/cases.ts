// What is measured, and what it has to reach against each peer.

export interface Case {
  readonly name: string;
  readonly title: string;
  /** Options of the load generator. */
  readonly load: readonly string[];
  /** Server and generator share one processor: measures the software path instead of wake-ups. */
  readonly pinned?: true;
  /** Ratio Gemel/peer that has to be reached; latency goals are upper bounds. */
  readonly goals: Readonly<Partial<Record<'tgt' | 'istgt' | 'reference', number>>>;
  readonly goalPerCore?: number;
  readonly latency?: true;
}

const SMALL = { tgt: 5, istgt: 3.5, reference: 0.6 };
const DEEP = { tgt: 8, istgt: 4, reference: 0.6 };
const LARGE = { tgt: 2, istgt: 1.3, reference: 0.9 };
const DIGEST = { tgt: 5, istgt: 4 };
const SINGLE = { tgt: 2.2, istgt: 1.7 };
const QD1 = { tgt: 0.6, istgt: 0.6, reference: 1.2 };

const load = (text: string): string[] => text.split(' ');

export const CASES: readonly Case[] = [
  { name: 'r4q32', title: '4 KiB random read, QD 32', load: load('-m 100 -b 4k -q 32'), goals: SMALL, goalPerCore: 7 },
  { name: 'w4q32', title: '4 KiB random write, QD 32', load: load('-m 0 -b 4k -q 32'), goals: SMALL, goalPerCore: 7 },
  { name: 'r4q128', title: '4 KiB random read, QD 128', load: load('-m 100 -b 4k -q 128'), goals: DEEP },
  { name: 'w4q128', title: '4 KiB random write, QD 128', load: load('-m 0 -b 4k -q 128'), goals: DEEP },
  {
    name: 'r4q32n4',
    title: '4 KiB random read, 4 sessions × QD 32',
    load: load('-m 100 -b 4k -q 32 -n 4'),
    goals: DEEP,
  },
  {
    name: 'w4q32n4',
    title: '4 KiB random write, 4 sessions × QD 32',
    load: load('-m 0 -b 4k -q 32 -n 4'),
    goals: DEEP,
  },
  { name: 'r64', title: '64 KiB sequential read, QD 32', load: load('-S -m 100 -b 64k -q 32'), goals: LARGE },
  { name: 'w64', title: '64 KiB sequential write, QD 32', load: load('-S -m 0 -b 64k -q 32'), goals: LARGE },
  { name: 'r256', title: '256 KiB sequential read, QD 16', load: load('-S -m 100 -b 256k -q 16'), goals: LARGE },
  { name: 'w256', title: '256 KiB sequential write, QD 16', load: load('-S -m 0 -b 256k -q 16'), goals: LARGE },
  { name: 'r1m', title: '1 MiB sequential read, QD 8', load: load('-S -m 100 -b 1m -q 8'), goals: LARGE },
  { name: 'w1m', title: '1 MiB sequential write, QD 8', load: load('-S -m 0 -b 1m -q 8'), goals: LARGE },
  { name: 'dr4', title: 'digests, 4 KiB random read, QD 32', load: load('-m 100 -b 4k -q 32 -H -D'), goals: DIGEST },
  { name: 'dw4', title: 'digests, 4 KiB random write, QD 32', load: load('-m 0 -b 4k -q 32 -H -D'), goals: DIGEST },
  { name: 'dr256', title: 'digests, 256 KiB read, QD 16', load: load('-S -m 100 -b 256k -q 16 -H -D'), goals: DIGEST },
  { name: 'dw256', title: 'digests, 256 KiB write, QD 16', load: load('-S -m 0 -b 256k -q 16 -H -D'), goals: DIGEST },
  {
    name: 'r4single',
    title: 'one send per command, 4 KiB read, QD 32',
    load: load('-m 100 -b 4k -q 32 -1'),
    goals: SINGLE,
  },
  {
    name: 'w4single',
    title: 'one send per command, 4 KiB write, QD 32',
    load: load('-m 0 -b 4k -q 32 -1'),
    goals: SINGLE,
  },
  {
    name: 'r4q1',
    title: '4 KiB read, QD 1, one core: latency',
    load: load('-m 100 -b 4k -q 1'),
    pinned: true,
    goals: QD1,
    latency: true,
  },
  {
    name: 'w4q1',
    title: '4 KiB write, QD 1, one core: latency',
    load: load('-m 0 -b 4k -q 1'),
    pinned: true,
    goals: QD1,
    latency: true,
  },
];
