// What people see of mirrored disks, letter by letter, and what the doctor says of a cluster. (The commands themselves are tried
// on a real pair: test/interop/cluster.test.ts.)
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Cluster, Replication } from '../../../core/cli/answers.ts';
import { clusterFindings, replicaFindings } from '../../../core/cli/doctor-cluster.ts';
import type { Finding } from '../../../core/cli/doctor.ts';
import { createProgram, runProgram } from '../../../core/cli/program.ts';
import { promotionText, replicationFacts, replicationTable } from '../../../core/cli/replication-commands.ts';
import { ApiClient } from '../../../plugins/sdk/client.ts';
import { withApi } from '../api/fixture.ts';

const GIB = 1 << 30;
type Node = Cluster['nodes'][number];
const node = (index: number, name: string, more: Partial<Node> = {}): Node => ({
  ...{ id: `0000000${String(index)}`, index, name, role: 'data', address: `192.0.2.${String(index + 1)}:7481` },
  ...{ self: index === 1, vote: 'voter', leader: index === 0, answers: true, maintenance: false, ...more },
});
const NODES = [node(0, 'alpha'), node(1, 'beta'), node(2, 'watch', { role: 'witness' })];
const CLUSTER: Cluster = {
  ...{ cluster: 'c0ffee00', node: '00000001', nodes: NODES, takeover: 'automatic', advice: null },
  store: { answers: true, problem: null, external: null },
};
const WITHOUT_ALPHA: Cluster = {
  ...CLUSTER,
  nodes: NODES.map((each) => (each.name === 'alpha' ? { ...each, answers: false } : each)),
  ...{ takeover: 'none', advice: 'bring back alpha' },
};
const replica = { inSync: true, state: 'sync', why: '', lacksBytes: 0, resync: null } as const;
const STORE: Replication = {
  ...{
    volume: 'vm-store',
    id: '7d9c',
    role: 'replica',
    owner: '00000000',
    epoch: 3,
    session: 4,
    forcedBy: null,
    why: '',
  },
  inSync: ['00000000', '00000001'],
  replicas: [
    { ...replica, node: '00000000', state: 'owner' },
    { ...replica, node: '00000001' },
  ],
};
const resync = { leftBytes: 3 * GIB, totalBytes: 12 * GIB, bytesPerSecond: 64 << 20, etaSeconds: 48 };
const COPIED: Replication = {
  ...{ ...STORE, volume: 'a-volume-with-quite-a-long-name', owner: '00000001', role: 'owner', inSync: ['00000001'] },
  forcedBy: 'eve',
  replicas: [
    { ...replica, node: '00000000', inSync: false, state: 'joining', lacksBytes: 3 * GIB, resync },
    { ...replica, node: '00000001', state: 'owner' },
  ],
};
const ORPHAN: Replication = {
  ...{ ...STORE, volume: 'db', owner: null, role: 'waiting', inSync: ['00000000'] },
  why: 'only alpha has everything: this copy waits for it',
  replicas: [
    { ...replica, node: '00000000', state: 'unknown' },
    { ...replica, node: '00000001', inSync: false, state: 'unknown', why: 'only alpha has everything' },
  ],
};
const text = (lines: readonly string[]): string => lines.join('\n');

describe('gemel replication', () => {
  it('lists within 80 columns who serves a disk and how far the others are', () => {
    assert.equal(
      replicationTable([STORE, COPIED, ORPHAN], CLUSTER, 80),
      text([
        'NAME                             SERVED BY  IN STEP  HAVE ALL     THE OTHERS',
        'vm-store                         alpha      2 of 2   alpha, beta  -',
        'a-volume-with-quite-a-long-name  beta       1 of 2   beta         alpha: 3 GiB …',
        'db                               nobody     1 of 2   alpha        beta: only al…',
      ]),
    );
    assert.match(replicationTable([], CLUSTER, 80), /^No disk has several copies yet\. Try: gemel volume create/);
  });

  it('shows everything about one', () => {
    assert.equal(
      replicationFacts(COPIED, CLUSTER, 80),
      text([
        'Disk       a-volume-with-quite-a-long-name',
        'Served by  beta (epoch 3, session 4)',
        'This node  owner',
        'In step    1 of 2: beta',
        'Forced by  eve: others may have had newer data',
        'ID         7d9c',
        '',
        'NODE   STATE    IN STEP  LACKS  TO COPY      RATE  LEFT  WHY',
        'alpha  joining  no       3 GiB    3 GiB  64 MiB/s  48 s  -',
        'beta   owner    yes        0 B        -         -     -  -',
      ]),
    );
    assert.match(
      replicationFacts(ORPHAN, CLUSTER, 80),
      /\n\nHere: only alpha has everything: this copy waits for it\.$/,
    );
  });

  it('says what a promotion would cost before it is done', () => {
    assert.equal(
      promotionText(ORPHAN, WITHOUT_ALPHA),
      'the copy of db on beta would become the one that counts: what was written since it fell behind, which alpha has, ' +
        'is LOST. Bring back alpha instead, if you can; if you cannot, repeat it with --i-am-sure',
    );
    assert.throws(() => promotionText(STORE, CLUSTER), /alpha serves vm-store/);
  });

  it('speaks of a node that is alone', async () => {
    await withApi(async ({ url, admin, plane }) => {
      await plane.provisioner.create({ name: 'v', size: 1 << 20, kind: 'memory', maps: [] });
      const gemel = async (...argv: string[]): Promise<string> => {
        let output = '';
        const client = (): ApiClient => new ApiClient(url, admin);
        const context = { client, print: (line: string) => (output += line), readStdin: () => '', width: 80 };
        const { complaint = '' } = await runProgram(createProgram(context, '1'), argv);
        return output + complaint;
      };
      assert.match(
        await gemel('replication', 'list'),
        /^This node is alone: its disks have one copy\. Try: gemel cluster/,
      );
      assert.equal(await gemel('replication', 'list', '--json'), '[]');
      for (const argv of [
        ['replication', 'show', 'v'],
        ['volume', 'hand-over', 'v'],
        ['volume', 'promote', 'v', '--i-am-sure'],
      ]) {
        assert.match(await gemel(...argv), /^gemel: volume 'v' is on one node only\./);
      }
      assert.match(await gemel('volume', 'hand-over', 'none'), /^gemel: there is no volume 'none'\./);
    });
  });
});

describe('gemel doctor in a cluster', () => {
  const said = (findings: readonly Finding[]): string[] => findings.map(({ level, text: what }) => `${level}: ${what}`);

  it('finds nothing where everything is there', () => {
    assert.deepEqual(said(clusterFindings(CLUSTER)), [
      'ok: 3 of 3 votes answer; when a node dies, another one takes over',
    ]);
    assert.deepEqual(said(replicaFindings(CLUSTER, [STORE], [{ name: 'vm-store' }, { name: 'old' }])), [
      'ok: 1 of 1 mirrored disks are in step; 1 with one copy only',
    ]);
    const alone: Cluster = { ...CLUSTER, cluster: null, node: null, nodes: [], takeover: 'none' };
    assert.deepEqual(said(clusterFindings(alone)), ['ok: this node is in no cluster']);
    assert.deepEqual(replicaFindings(alone, [], [{ name: 'old' }]), []);
  });

  it('names who is missing, what that means and what to do', () => {
    const lost = { ...WITHOUT_ALPHA, store: { answers: false, problem: 'no majority', external: null } };
    const findings = clusterFindings(lost);
    assert.deepEqual(said(findings), [
      'error: the configuration store does not answer: no majority',
      'error: alpha (192.0.2.1:7481, data) does not answer',
      'warning: 2 of 3 votes answer; nobody takes over when a node dies',
    ]);
    assert.deepEqual(findings.at(-1)?.remedy, 'Bring back alpha.');
    const learner = {
      ...CLUSTER,
      nodes: NODES.map((each) => (each.index === 2 ? { ...each, vote: 'learner' as const } : each)),
    };
    assert.equal(said(clusterFindings(learner))[0], 'warning: watch has no vote yet');
    // The second node of two has none on purpose: that alone is no finding, the missing takeover is.
    const pair = {
      ...learner,
      nodes: [node(0, 'alpha'), node(1, 'beta', { vote: 'learner' })],
      takeover: 'none' as const,
    };
    assert.deepEqual(said(clusterFindings(pair)), ['warning: 1 of 1 votes answer; nobody takes over when a node dies']);
  });

  it('tells a disk nobody serves from one that is being copied and one whose node is gone', () => {
    const gone: Replication = {
      ...{ ...STORE, volume: 'w', owner: '00000001', inSync: ['00000001'] },
      replicas: [
        { ...replica, node: '00000000', inSync: false, state: 'out', why: 'the link is down' },
        { ...replica, node: '00000001', state: 'owner' },
      ],
    };
    assert.deepEqual(said(replicaFindings(CLUSTER, [COPIED, ORPHAN, gone], [])), [
      'ok: 0 of 3 mirrored disks are in step',
      'warning: a-volume-with-quite-a-long-name: alpha catches up, 3 GiB of 12 GiB to copy',
      'error: nobody serves db: only alpha has everything: this copy waits for it',
      'warning: w: alpha does not have everything (the link is down)',
    ]);
  });
});
