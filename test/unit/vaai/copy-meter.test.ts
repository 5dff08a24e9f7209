// Copies of hosts between disks of a pool: counted with what was shared and what was moved, and refused as the policy says.
import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { LOOPBACK } from '../../../core/control/records.ts';
import type { CopyRoutePolicy } from '../../../core/volume/copy-route.ts';
import type { LogicalUnit } from '../../../core/scsi/logical-unit.ts';
import type { OffloadKind } from '../../../core/scsi/offload-meter.ts';
import { HOST_A, Initiator } from '../../support/scsi-fixture.ts';
import { resetOdx } from '../../support/odx.ts';
import { newListId, offloadRead, writeList, writeUsing } from '../../support/windows-copy.ts';
import { withPlane } from '../control/fixture.ts';
import type { Plane } from '../control/fixture.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

function unitOf(plane: Plane, name: string): LogicalUnit {
  const lu = plane.units.unit(name);
  assert.ok(lu);
  return lu;
}

/** A host of this machine at the target of the volume. */
function login(plane: Plane, name: string): Initiator {
  const record = plane.catalog.volumes.get(name);
  const device = plane.units.devices.get(plane.catalog.iqnOf(record?.target ?? ''));
  const port = device?.ports[0];
  assert.ok(record && device && port);
  const nexus = device.attach({ initiator: { name: HOST_A, isid: '000000000001' }, local: true }, port);
  nexus.devices = () => plane.units.devices.values();
  const host = new Initiator(nexus, record.lun);
  host.clearAttentions();
  return host;
}

/** `used/refused shared+copied reason=count …`. */
function seen(lu: LogicalUnit, kind: OffloadKind): string {
  const meter = lu.offload.hosts.get(HOST_A)?.kinds.get(kind);
  if (meter === undefined) return 'never';
  const { used, refused, sharedBytes, copiedBytes, reasons } = meter;
  const why = [...reasons].map(([reason, count]) => ` ${reason}=${String(count)}`).join('');
  return `${String(used)}/${String(refused)} ${String(sharedBytes / KIB)}+${String(copiedBytes / KIB)}${why}`;
}

/** EXTENDED COPY (LID1) of one segment, as bytes; `immediate`: LID4, in the background, list identifier 7. */
async function xcopy(
  host: Initiator,
  [source, target]: readonly [LogicalUnit, LogicalUnit],
  [from, to, length]: readonly [number, number, number],
  immediate = false,
): Promise<string> {
  const head = Buffer.alloc(immediate ? 48 : 16);
  if (immediate) {
    Buffer.from([0x01, 0, 0, 0x20]).copy(head);
    head[15] = 1;
    head[16] = 0xff;
    head.writeUInt32BE(7, 20);
  } else head[1] = 0x18; // LIST ID USAGE 11b
  head.writeUInt16BE(64, immediate ? 42 : 2);
  if (immediate) head.writeUInt16BE(28, 44);
  else head.writeUInt32BE(28, 8);
  const ends = [source, target].map(({ identity, blockSize }) => {
    const out = Buffer.alloc(32);
    Buffer.from([0xe4, 0, 0, 0, 1, 3, 0, 16]).copy(out);
    identity.naa.copy(out, 8);
    out.writeUIntBE(blockSize, 29, 3);
    return out;
  });
  const segment = Buffer.alloc(28);
  // CSCD descriptors have the IDs 0 and 1, behind the header of LID4 1 and 2 (SPC-4 6.4.2).
  Buffer.from(immediate ? [0x02, 0, 0, 0x18, 0, 1, 0, 2] : [0x02, 0, 0, 0x18, 0, 0, 0, 1]).copy(segment);
  segment.writeUInt16BE(length / 512, 10);
  segment.writeUInt32BE(from / 512, 16);
  segment.writeUInt32BE(to / 512, 24);
  const list = Buffer.concat([head, ...ends, segment]);
  const cdb = Buffer.alloc(16);
  cdb[0] = 0x83;
  cdb[1] = immediate ? 1 : 0;
  cdb.writeUInt32BE(list.length, 10);
  return host.status(cdb, { data: list });
}

async function withDisks(
  body: (plane: Plane, units: readonly [LogicalUnit, LogicalUnit]) => Promise<void>,
): Promise<void> {
  await withPlane(async (plane) => {
    await plane.pools.create({ name: 'tank', size: 64 * MIB });
    const maps = [{ who: LOOPBACK, readOnly: false }];
    for (const name of ['one', 'two']) await plane.provisioner.create({ name, size: 16 * MIB, maps });
    const units = [unitOf(plane, 'one'), unitOf(plane, 'two')] as const;
    const data = Buffer.alloc(8 * MIB);
    for (let at = 0; at < data.length; at += 512) data.writeUInt32BE(at + 1, at);
    await units[0].volume.write(0, data, 0, data.length, false);
    await body(plane, units);
  });
}

async function follow(plane: Plane, policy: CopyRoutePolicy): Promise<void> {
  await plane.catalog.setCopyRoute(policy);
}

describe('copies between disks of a pool', () => {
  beforeEach(resetOdx);

  it('EXTENDED COPY is counted where it was asked for, with what was shared and what was moved', async () => {
    await withDisks(async (plane, units) => {
      const host = login(plane, 'one');
      assert.equal(await xcopy(host, units, [0, 0, 4 * MIB]), 'GOOD');
      assert.equal(seen(units[0], 'extended-copy'), '1/0 4096+0');
      // Ragged at both ends: 60 KiB before the first whole grain, 4 KiB behind the last.
      assert.equal(await xcopy(host, units, [4 * KIB, 4 * MIB + 4 * KIB, 2 * MIB]), 'GOOD');
      assert.equal(seen(units[0], 'extended-copy'), '2/0 6080+64');
      // Grains that do not lie alike.
      assert.equal(await xcopy(host, units, [0, 8 * MIB + 512, MIB]), 'GOOD');
      assert.equal(seen(units[0], 'extended-copy'), '3/0 6080+1088');
      assert.equal(seen(units[1], 'extended-copy'), 'never');
      // How fast copies to a disk are is known of the disk that was copied to.
      assert.equal(units[0].copyRoute.storageRate, undefined);
      assert.ok((units[1].copyRoute.storageRate ?? 0) > 0);
      const copy = Buffer.alloc(MIB);
      await units[1].volume.read(8 * MIB + 512, MIB, copy, 0);
      assert.equal(copy.readUInt32BE(512), 513);
    });
  });

  it('policies refuse EXTENDED COPY before anything is done', async () => {
    await withDisks(async (plane, units) => {
      const host = login(plane, 'one');
      await follow(plane, 'never');
      assert.equal(await xcopy(host, units, [0, 0, 4 * MIB]), '05/55/03');
      assert.equal(seen(units[0], 'extended-copy'), '0/1 0+0 policy=1');
      await follow(plane, 'share-only');
      assert.equal(await xcopy(host, units, [0, 512, MIB]), '05/55/03');
      assert.equal(await xcopy(host, units, [0, 0, 4 * KIB]), '05/55/03');
      const [extent] = await units[1].volume.extents(0, 16 * MIB, 2);
      assert.deepEqual(extent, { position: 0, length: 16 * MIB, mapped: false });
      assert.equal(await xcopy(host, units, [0, 0, 4 * MIB]), 'GOOD');
      assert.equal(seen(units[0], 'extended-copy'), '1/3 4096+0 policy=3');
      // The policy of the disk that is copied to decides.
      await follow(plane, 'always');
      await plane.offload.setRoute('never', 'two');
      assert.equal(await xcopy(host, units, [0, 0, 4 * MIB]), '05/55/03');
      assert.equal(await xcopy(host, [units[1], units[0]], [0, 8 * MIB, MIB]), 'GOOD');
    });
  });

  it('what fails tells why: not mapped, beyond the end, in the background', async () => {
    await withDisks(async (plane, units) => {
      const host = login(plane, 'one');
      await plane.provisioner.create({ name: 'hidden', size: 16 * MIB });
      assert.match(await xcopy(host, [units[0], unitOf(plane, 'hidden')], [0, 0, MIB]), /^0A\/0D\/02/);
      assert.equal(seen(units[0], 'extended-copy'), '0/1 0+0 not-mapped=1');
      assert.match(await xcopy(host, units, [0, 16 * MIB, MIB]), /^0A\/0D\/02/);
      assert.equal(seen(units[0], 'extended-copy'), '0/2 0+0 not-mapped=1 out-of-range=1');
      units[1].modes.softwareWriteProtect = true;
      assert.equal(await xcopy(host, units, [0, 0, MIB], true), 'GOOD');
      await units[0].copies.find(host.lunNexus, 7)?.over;
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(seen(units[0], 'extended-copy'), '0/3 0+0 not-mapped=1 out-of-range=1 write-protected=1');
    });
  });

  it('POPULATE TOKEN and WRITE USING TOKEN are counted', async () => {
    await withDisks(async (plane, units) => {
      const [from, to] = [login(plane, 'one'), login(plane, 'two')];
      const { token } = await offloadRead(from, [[0, (2 * MIB) / 512]]);
      assert.equal(seen(units[0], 'populate-token'), '1/0 2048+0');
      assert.equal(await writeUsing(to, newListId(), writeList(token, 0, [[0, (2 * MIB) / 512]])), 'GOOD');
      // The points in time of these tests are in memory: there is nothing to share with.
      assert.equal(seen(units[1], 'write-using-token'), '1/0 0+2048');
      // More than the token stands for: all of it has been written, which is no refusal.
      const more = writeList(token, 2048, [[0, (2 * MIB) / 512]]);
      assert.match(await writeUsing(to, newListId(), more), /^05\/0D\/04/);
      assert.equal(seen(units[1], 'write-using-token'), '2/0 0+3072');
    });
  });
});
