// Which machines the agent has go on when the storage is there again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wakeHalted } from '../../../plugins/kvm/agent/halted.ts';
import type { Caller } from '../../../plugins/kvm/libvirt.ts';
import { diskXml } from '../../../plugins/kvm/model/disk.ts';

const SOCKET = '/var/lib/gemel/nbd.sock';
const USER = 1;
const IO_ERROR = 5;

test('machines that stand still for a disk by NBD of ours go on, and no others', async () => {
  const nbd = (socket: string): string =>
    diskXml({
      ...{ form: 'disk', dev: 'sda', bus: 'scsi', serial: undefined },
      source: { kind: 'nbd', export: 'a', socket },
    });
  const machines: Readonly<Record<string, { reason: number; disk: string }>> = {
    ours: { reason: IO_ERROR, disk: nbd(SOCKET) },
    paused: { reason: USER, disk: nbd(SOCKET) },
    other: { reason: IO_ERROR, disk: nbd('/run/else.sock') },
    file: {
      reason: IO_ERROR,
      disk: "<disk type='file' device='disk'><source file='/x'/><target dev='sda' bus='scsi'/></disk>",
    },
  };
  const resumed: string[] = [];
  const libvirt = {
    call: ({ name }: { name: string }, args: { domain?: { name: string } }): Promise<unknown> => {
      const at = args.domain?.name ?? '';
      const of = machines[at];
      switch (name) {
        case 'list_all_domains':
          return Promise.resolve({ domains: Object.keys(machines).map((each) => ({ name: each, uuid: each, id: 1 })) });
        case 'domain_get_state':
          return Promise.resolve({ state: 3, reason: of?.reason });
        case 'domain_get_xml_desc':
          return Promise.resolve({ xml: `<domain><devices>${of?.disk ?? ''}</devices></domain>` });
        default:
          assert.equal(name, 'domain_resume');
          resumed.push(at);
          return Promise.resolve({});
      }
    },
  } as unknown as Caller;
  assert.equal(await wakeHalted(libvirt, SOCKET, () => undefined), 1);
  assert.deepEqual(resumed, ['ours']);
  assert.match(nbd(SOCKET), /error_policy="stop" rerror_policy="stop"/, 'and they stand still instead of failing');
});
