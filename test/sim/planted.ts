// What each planted flaw takes to be seen, and what is seen then. Other weather would do as well, in many more runs.
import { Flaw } from './flaws.ts';
import type { Weather } from './nemesis.ts';
import type { Load } from './simulation.ts';

export interface Planted {
  readonly flaw: Flaw;
  readonly weather: Weather;
  readonly load: Load;
  readonly snapshots?: boolean;
  readonly copies?: boolean;
  /** The seed the search begins with. */
  readonly from: number;
  /** What is said of it. */
  readonly seen: RegExp;
}

/** An acknowledged or a seen value is gone, or copies that should be the same are not. */
const LOST = /no order explains|was never written|differs/;
const STUCK = /not answered|not in sync|cannot be read/;

/** Long enough for somebody else to take over. */
const exiles: Weather = { faults: ['exile'], lasts: [5000, 9000], apart: [9000, 10_000] };
/** Some who write and do not wait long, and two who only read, and stay where they are answered. */
const load: Load = {
  apart: 24,
  hosts: [
    { patience: 1500, reads: 0.3, pace: 30 },
    { patience: 1000, reads: 0.3, pace: 30 },
    { patience: 1500, reads: 1, pace: 30 },
    { patience: 1500, reads: 1, pace: 30 },
  ],
};

/** Who writes tries the other node before a lease can have run out. */
const hasty: Load = { ...load, hosts: load.hosts.map((each) => ({ ...each, patience: 150 })) };

export const PLANTED: readonly Planted[] = [
  { flaw: Flaw.ackBeforeShrink, weather: exiles, load, from: 1, seen: LOST },
  { flaw: Flaw.nonMember, weather: { ...exiles, faults: ['cutWay', 'exile', 'isolate'] }, load, from: 1, seen: LOST },
  {
    flaw: Flaw.forgetRegions,
    weather: { faults: ['crash'], lasts: [50, 3000], apart: [3000, 6000] },
    load,
    from: 3,
    seen: LOST,
  },
  {
    flaw: Flaw.optimistic,
    // It takes an attempt that is made late, and an owner that comes back and has not moved the revision on by then.
    weather: { faults: ['ambush'], lasts: [11_000, 12_000], apart: [13_000, 14_000] },
    load,
    from: 1,
    seen: STUCK,
  },
  {
    flaw: Flaw.looseSnapshot,
    weather: { faults: ['slowNet'], lasts: [2000, 6000], apart: [3000, 6000] },
    load: { apart: 1, hosts: load.hosts.map((each) => ({ ...each, patience: 8000, reads: 0.3 })) },
    snapshots: true,
    from: 1,
    seen: LOST,
  },
  {
    flaw: Flaw.looseCopy,
    weather: { faults: ['handOver', 'slowNet'], lasts: [300, 1000], apart: [100, 500] },
    load: { apart: 4, hosts: load.hosts.map((each) => ({ ...each, patience: 3000, reads: 0.5 })) },
    copies: true,
    from: 1,
    seen: LOST,
  },
  { flaw: Flaw.wallClock, weather: exiles, load, from: 1, seen: LOST },
  { flaw: Flaw.slowClock, weather: exiles, load, from: 1, seen: LOST },
  { flaw: Flaw.noLease, weather: exiles, load, from: 1, seen: LOST },
  { flaw: Flaw.dirtyRead, weather: exiles, load, from: 1, seen: LOST },
  {
    flaw: Flaw.noBootWait,
    weather: { faults: ['eclipse'], lasts: [3000, 5000], apart: [8000, 10_000] },
    load: hasty,
    from: 1,
    seen: LOST,
  },
];
