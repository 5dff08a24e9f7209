// The truth meter from end to end: commands of a host, then what `gemel` says of them.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { metricsOf } from '../../../core/api/metrics.ts';
import { ApiClient } from '../../../plugins/sdk/client.ts';
import { createProgram, runProgram } from '../../../core/cli/program.ts';
import { LOOPBACK } from '../../../core/control/records.ts';
import { HOST_A, Initiator } from '../../support/scsi-fixture.ts';
import type { Plane } from '../control/fixture.ts';
import { withApi } from '../api/fixture.ts';

/** A host of this machine, logged in at the target of the volume. */
function login(plane: Plane, name: string): Initiator {
  const record = plane.catalog.volumes.get(name);
  const device = plane.units.devices.get(plane.catalog.iqnOf(record?.target ?? ''));
  const port = device?.ports[0];
  assert.ok(record && device && port);
  const visitor = { initiator: { name: HOST_A, isid: '000000000001' }, local: true };
  const host = new Initiator(device.attach(visitor, port), record.lun);
  host.clearAttentions();
  return host;
}

const zeros = (lba: number, blocks: number): number[] => [
  ...[0x93, 0x01, 0, 0, 0, 0, 0, 0, lba >> 8, lba & 0xff, 0, 0, blocks >> 8, blocks & 0xff, 0, 0],
];

describe('gemel offload', () => {
  it('tells what was done, what was refused, and explains it', async () => {
    await withApi(async ({ url, admin, viewer, plane, ask }) => {
      const gemel = async (line: string): Promise<string> => {
        let output = '';
        const print = (text: string): void => {
          output += `${text}\n`;
        };
        const program = createProgram(
          { client: () => new ApiClient(url, admin), print, readStdin: () => '', width: 120 },
          '1.2.3',
        );
        const { status, complaint } = await runProgram(program, line.split(' '));
        return status === 0 ? output : `${String(status)} ${complaint ?? ''}`;
      };
      assert.match(await gemel('offload'), /^No host has asked for anything yet/);
      assert.equal(await gemel('doctor offload'), 'No disks are served.\n');
      await plane.pools.create({ name: 'tank', size: 64 << 20 });
      const maps = [{ who: LOOPBACK, readOnly: false }];
      await plane.provisioner.create({ name: 'thin', size: 1 << 30, maps });
      await plane.provisioner.create({ name: 'thick', size: 1 << 20, thin: false, maps });
      assert.match(await gemel('doctor offload thin'), /no host has been here/);
      const host = login(plane, 'thin');
      const other = login(plane, 'thick');
      assert.equal(await host.status(zeros(0, 0x8000)), 'GOOD');
      assert.equal(
        await host.status([0x89, ...Array<number>(12).fill(0), 1, 0, 0], { data: Buffer.alloc(1024, 1) }),
        '0E/1D/00 info 0',
      );
      // A list of four bytes is less than its header.
      const four = [0x83, 0x10, ...Array<number>(11).fill(0), 4, 0, 0];
      assert.equal(await host.status(four, { data: Buffer.alloc(4) }), '05/1A/00');
      assert.equal(await other.status([0x42, 0, 0, 0, 0, 0, 0, 0, 8, 0], { data: Buffer.alloc(8) }), '05/20/00 cdb 0');

      const shown = await gemel('offload thin');
      assert.match(shown, /thin +.*host-a +write-same +1 +16 MiB +0 B .* 0 +-/);
      assert.match(shown, /compare-and-write +0 .* 1 +miscompare/);
      assert.match(shown, /populate-token +0 .* 1 +bad-list/);
      assert.doesNotMatch(shown, /thick/);
      assert.match(await gemel('offload'), /thick .* unmap +0 .* 1 +not-offered/);
      assert.match(await gemel('offload nowhere'), /^4 /);
      const doctor = await gemel('doctor offload');
      assert.match(
        doctor,
        /problem +thick .*\n +UNMAP .*refused 1 times.* this volume does not have the command .*05\/20\/00/,
      );
      assert.match(doctor, /problem +thin .*\n +POPULATE TOKEN .*refused 1 times.*05\/1A\/00/);
      assert.match(doctor, /note +thin .*\n +COMPARE AND WRITE .*another host was first.*0E\/1D\/00/);
      assert.match(doctor, /note +thin .*\n +has never asked for .*unmap.*\n +Where it should: .*fstrim/);
      assert.match(doctor, /note +thick\n +UNMAP .*not offered: the volume is thick/);
      assert.ok(doctor.indexOf('problem') < doctor.indexOf('note'), 'problems come first');

      const answer = await ask('GET', '/api/v1/offload?volume=thin', { token: viewer });
      const [view] = answer.json['items'] as { hosts: { kinds: { kind: string; sharedBytes: number }[] }[] }[];
      assert.equal(view?.hosts[0]?.kinds.find((each) => each.kind === 'write-same')?.sharedBytes, 16 << 20);
      const metrics = metricsOf(plane);
      const labels = `volume="thin",initiator="${HOST_A}",kind="write-same"`;
      assert.ok(metrics.includes(`gemel_offload_shared_bytes_total{${labels}} ${String(16 << 20)}\n`));
      assert.match(metrics, /gemel_offload_refused_total\{volume="thick",.*reason="not-offered"\} 1/);
    });
  });

  it('sets the route of copies for the node and for one disk', async () => {
    await withApi(async ({ ask, admin, viewer, plane }) => {
      const path = '/api/v1/copy-route';
      const put = async (body: string, token = admin): Promise<string> => {
        const { status, text } = await ask('PUT', path, { token, body });
        return status === 200 ? text : String(status);
      };
      await plane.provisioner.create({ name: 'one', size: 1 << 20, kind: 'memory' });
      const route = (): string => plane.units.unit('one')?.copyRoute.policy ?? '';
      assert.equal(route(), 'auto');
      assert.equal(await put('{"policy":"share-only"}'), '{"node":"share-only","volumes":[]}');
      assert.equal(route(), 'share-only');
      assert.equal(
        await put('{"policy":"never","volume":"one"}'),
        '{"node":"share-only","volumes":[{"volume":"one","policy":"never"}]}',
      );
      assert.equal(route(), 'never');
      assert.equal(plane.units.unit('one')?.copyRoute.decide({ shareable: true, bytes: 1, host: 'h' }), 'refuse');
      await put('{"policy":"default","volume":"one"}');
      assert.equal(route(), 'share-only');
      assert.equal(await put('{"policy":"never","volume":"two"}'), '404');
      assert.equal(await put('{"policy":"sometimes"}'), '400');
      assert.equal(await put('{"policy":"auto"}', viewer), '403');
      assert.equal((await ask('GET', path, { token: viewer })).status, 200);
    });
  });
});
