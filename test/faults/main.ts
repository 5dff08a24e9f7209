// `npm run faults -- [--rounds N] [--seed N] [--only WORD] [--host guest|user] [--log] [--around COMMAND]`: a cluster of real processes in
// network namespaces, with a Linux guest at it that writes, through rounds of faults. Root only. `--around`: rounds are played
// while this command runs another one, such as a lock that keeps a shared machine quiet.
import { execFileSync, spawn } from 'node:child_process';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { atExit, temporaryFolder } from '../support/cleanup.ts';
import { startFaultCluster } from '../support/fault-cluster.ts';
import { needsAll } from '../support/needs.ts';
import { Chance } from '../sim/random.ts';
import type { FaultHost } from './fault-host.ts';
import { withGuestHost } from './guest-host.ts';
import { KINDS } from './kinds.ts';
import { linesOf, mixed, playRound, tableOf } from './rounds.ts';
import type { RoundReport } from './rounds.ts';
import { userHost } from './user-host.ts';

const HOST = 'iqn.2026-11.org.example:host';
/** Of the file system in memory that each node keeps its data in. */
const SMALL = '1400m';
/** Milliseconds the command of --around runs at a time, or until a round is over. */
const TURN = 80_000;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '20' },
    seed: { type: 'string' },
    only: { type: 'string', default: '' },
    host: { type: 'string', default: 'guest' },
    log: { type: 'boolean', default: false },
    around: { type: 'string', default: '' },
  },
});
const seed = Number(values.seed ?? Date.now() % 1_000_000);
const count = Number(values.rounds);
const chance = new Chance(seed);
const kinds = KINDS.filter(({ name, needs }) => {
  const missing = needs !== undefined && needsAll(needs);
  if (missing !== false) console.log(`left out: ${name}: ${missing}`);
  return missing === false && name.includes(values.only);
});
console.log(`npm run faults -- --rounds ${String(count)} --seed ${String(seed)}`);

const reports: RoundReport[] = [];
const plan = mixed(kinds, count, () => chance.next());
const folders = [0, 1].map(() => {
  const folder = temporaryFolder('small');
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${SMALL}`, 'none', folder.path]);
  const unmount = (): void => {
    execFileSync('umount', ['-l', folder.path]);
  };
  const forget = atExit(unmount);
  return {
    path: folder.path,
    end: () => {
      forget();
      unmount();
      folder.remove();
    },
  };
});
const cluster = await startFaultCluster(
  HOST,
  folders.map(({ path }) => path),
);

/** Ends what the command of --around was given; since when it has been running. */
let over: () => void = () => undefined;
let heldSince = -Infinity;

/** Has the command of --around run around what comes next; it is ended and begun anew now and then, so that others have their turn. */
async function around(): Promise<void> {
  if (values.around === '' || performance.now() - heldSince < TURN) return;
  over();
  const command = [...values.around.split(' '), 'sh', '-c', 'echo ready; cat > /dev/null'];
  const child = spawn('env', command, { stdio: ['pipe', 'pipe', 'inherit'] });
  await new Promise((resolve) => child.stdout.once('data', resolve));
  heldSince = performance.now();
  over = () => {
    child.stdin.end();
  };
}

async function round(host: FaultHost): Promise<void> {
  const kind = plan[reports.length];
  if (kind === undefined) throw new Error('there is no such round');
  const marks = cluster.nodes.map(({ output }) => output.length);
  const coin = chance.happens(0.5);
  const began = Date.now();
  try {
    const report = await playRound(kind, cluster, host, { coin, verify: values.host === 'user' });
    reports.push(report);
    const { pause, healing } = report;
    console.log(`${String(reports.length)}: ${kind.name}: ${String(pause)} ms, healing ${String(healing)} ms`);
  } catch (error) {
    values.log = true;
    throw error;
  } finally {
    if (values.log) {
      for (const [i, { output }] of cluster.nodes.entries()) {
        for (const { time, msg, ...rest } of linesOf(output.slice(marks[i]))) {
          const at = (typeof time === 'number' ? time : Date.parse(String(time))) - began;
          console.log(`  ${String(i)} +${String(at)} ${String(msg)} ${JSON.stringify(rest)}`);
        }
      }
    }
  }
}

try {
  const { portals, disk, cables } = cluster;
  if (values.host === 'user') {
    const host = userHost({
      ...{ paths: portals, target: disk.iqn, lun: disk.lun, initiator: HOST, count: 4, blockLength: 512 },
    });
    try {
      while (reports.length < count) {
        await around();
        await round(host);
      }
    } finally {
      await host.end();
    }
  } else {
    const result = await withGuestHost({
      ...{ machine: cables.addMachine(), target: disk.iqn, initiator: HOST, rounds: count, round },
      ready: around,
      portals: portals.map(({ host, port }) => `${host}:${String(port)}`),
      progress: (line) => {
        console.log(`  ${line}`);
      },
    });
    if (values.log) console.log(result.log.join('\n'));
  }
  console.log(`errors 0, lost or torn blocks 0 in ${String(reports.length)} rounds`);
} catch (error) {
  process.exitCode = 1;
  console.error(error);
} finally {
  over();
  console.log(`\n${tableOf(reports)}`);
  await cluster.end();
  for (const each of folders) each.end();
}
