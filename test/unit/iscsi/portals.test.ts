import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { describe, test } from 'node:test';
import { addressOf } from '../../../core/iscsi/discovery.ts';
import { Initiator } from '../../support/initiator.ts';
import { IQN, startTarget } from '../../support/target.ts';

const portal = (address: string, advertised?: string) => ({ address, port: 3260, group: 2, advertised });
const TUR = Buffer.alloc(6);

describe('the address of a portal', () => {
  test('is told as RFC 7143 §13.8 writes it, and by the address the initiator reached', () => {
    const known: [ReturnType<typeof portal>, string, string][] = [
      [portal('192.0.2.2'), '192.0.2.2', '192.0.2.2:3260,2'],
      [portal('0.0.0.0'), '192.0.2.2', '192.0.2.2:3260,2'],
      [portal('::'), '::ffff:192.0.2.2', '192.0.2.2:3260,2'],
      [portal('::'), 'fd00::2', '[fd00::2]:3260,2'],
      [portal('fd00::2'), 'fd00::2', '[fd00::2]:3260,2'],
      [portal('fe80::1%eth0'), 'fe80::1%eth0', '[fe80::1]:3260,2'],
      [portal('::'), 'fe80::1%eth0', '[fe80::1]:3260,2'],
      [portal('::', 'storage.example:3261'), 'fd00::2', 'storage.example:3261,2'],
    ];
    for (const [each, local, told] of known) assert.equal(addressOf(each, local, false), told);
  });

  const addresses = Object.entries(networkInterfaces()).flatMap(([name, all]) =>
    (all ?? [])
      .filter(({ family, internal }) => family === 'IPv6' && !internal)
      .map(({ address }) => (address.startsWith('fe80:') ? `${address}%${name}` : address)),
  );
  const skip = addresses.length === 0 && 'this machine has no IPv6 address beyond loopback';
  test('can be any of this machine, IPv6 included', { skip }, async () => {
    for (const host of ['::', ...addresses]) {
      const target = await startTarget({ portals: [{ host, group: 1 }] });
      for (const to of host === '::' ? ['127.0.0.1', '::1', ...addresses] : [host]) {
        const initiator = await Initiator.login(to, target.port, { target: IQN, isid: '800000000001' });
        await initiator.scsi(TUR); // the unit attention of a new nexus
        assert.equal((await initiator.scsi(TUR)).status, 0, `${to} on ${host}`);
        assert.equal(await initiator.logout(), 0);
      }
      await target.close();
    }
  });
});
