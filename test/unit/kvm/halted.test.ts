// Which machines the agent has go on when the storage is there again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wakeHalted } from '../../../plugins/kvm/agent/halted.ts';
import type { Caller } from '../../../plugins/kvm/libvirt.ts';
import { diskXml } from '../../../plugins/kvm/model/disk.ts';
import type { StoredDisk } from '../../../plugins/kvm/storage.ts';

const SOCKET = '/var/lib/gemel/nbd.sock';
const PAUSED = 3;
const USER = 1;
const IO_ERROR = 5;

interface Machine {
  readonly state?: number;
  readonly reason: number;
  readonly disk: string;
}

const nbd = (volume: string, socket = SOCKET): string =>
  diskXml({
    ...{ form: 'disk', dev: 'sda', bus: 'scsi', serial: undefined },
    source: { kind: 'nbd', export: volume, socket },
  });
const volume = (name: string, change: Partial<StoredDisk> = {}): StoredDisk =>
  ({ name, lease: null, maps: [{ initiator: 'nbd', access: 'read-write' }], state: 'online', ...change }) as StoredDisk;
const leasedBy = (holder: string): Pick<StoredDisk, 'lease'> => ({ lease: { holder, since: '' } });

/** Names of the machines that go on, how many are looked at again, and what is said of the others. `refused`: libvirtd does not resume it. */
async function wake(
  machines: Readonly<Record<string, Machine>>,
  volumes: readonly StoredDisk[],
  refused?: string,
  { woken, now } = { woken: new Map<string, number[]>(), now: 0 },
) {
  const resumed: string[] = [];
  const said: string[] = [];
  const libvirt = {
    call: ({ name }: { name: string }, args: { domain?: { name: string } }): Promise<unknown> => {
      const at = args.domain?.name ?? '';
      const of = machines[at];
      switch (name) {
        case 'list_all_domains':
          return Promise.resolve({ domains: Object.keys(machines).map((each) => ({ name: each, uuid: each, id: 1 })) });
        case 'domain_get_state':
          return Promise.resolve({ state: of?.state ?? PAUSED, reason: of?.reason });
        case 'domain_get_xml_desc':
          return Promise.resolve({ xml: `<domain><devices>${of?.disk ?? ''}</devices></domain>` });
        default:
          assert.equal(name, 'domain_resume');
          if (at === refused) return Promise.reject(new Error('not now'));
          resumed.push(at);
          return Promise.resolve({});
      }
    },
  } as unknown as Caller;
  const log = (text: string): void => void said.push(text);
  return { later: await wakeHalted(libvirt, { socket: SOCKET, host: 'h', volumes, woken, now, log }), resumed, said };
}

test('machines that stand still for a disk by NBD of ours go on, and no others', async () => {
  const machines = {
    ours: { reason: IO_ERROR, disk: nbd('a') },
    paused: { reason: USER, disk: nbd('a') },
    // Of a machine that runs it says that somebody has had it go on.
    running: { state: 1, reason: IO_ERROR, disk: nbd('a') },
    other: { reason: IO_ERROR, disk: nbd('a', '/run/else.sock') },
    file: {
      reason: IO_ERROR,
      disk: "<disk type='file' device='disk'><source file='/x'/><target dev='sda' bus='scsi'/></disk>",
    },
  };
  const { later, resumed } = await wake(machines, [volume('a')]);
  assert.deepEqual([later, resumed], [0, ['ours']]);
  assert.match(nbd('a'), /error_policy="stop" rerror_policy="stop"/, 'and they stand still instead of failing');
});

test('machines whose disk somebody else has by now stand still', async () => {
  const halted = (name: string, disk = nbd(name)): Record<string, Machine> => ({ [name]: { reason: IO_ERROR, disk } });
  const machines = {
    ...halted('mine'),
    ...halted('theirs'),
    ...halted('unmapped'),
    ...halted('gone'),
    ...halted('image'),
    ...halted('two', nbd('mine2') + nbd('theirs')),
  };
  const volumes = [
    volume('mine', leasedBy('kvm:h:mine')),
    volume('mine2', leasedBy('kvm:h:two')),
    volume('theirs', leasedBy('kvm:other:x')),
    volume('unmapped', { maps: [] }),
    volume('image', { maps: [{ initiator: 'nbd', access: 'read-only' }] }),
  ];
  const { later, resumed, said } = await wake(machines, volumes);
  assert.deepEqual([later, resumed], [0, ['mine', 'image']]);
  assert.match(said.join('\n'), /theirs stands still, and is left so: volume 'theirs' is leased by kvm:other:x/);
});

test('machines that cannot go on yet hinder no others, and are looked at again', async () => {
  const machines = {
    refused: { reason: IO_ERROR, disk: nbd('a') },
    early: { reason: IO_ERROR, disk: nbd('b') },
    ours: { reason: IO_ERROR, disk: nbd('c') },
  };
  const volumes = [volume('a'), volume('b', { state: 'failed' }), volume('c')];
  const { later, resumed } = await wake(machines, volumes, 'refused');
  assert.deepEqual([later, resumed], [2, ['ours']]);
});

test('a machine that halts again and again goes on a few times a minute', async () => {
  const machines = { ours: { reason: IO_ERROR, disk: nbd('a') } };
  const woken = new Map<string, number[]>();
  const went: number[] = [];
  for (let now = 0; now < 120_000; now += 1000) {
    const { resumed, later } = await wake(machines, [volume('a')], undefined, { woken, now });
    assert.equal(resumed.length + later, 1, 'and is looked at again meanwhile');
    if (resumed.length > 0) went.push(now);
  }
  assert.deepEqual(went.slice(0, 6), [0, 1000, 2000, 3000, 4000, 61_000]);
  assert.equal(went.length, 10);
});
