import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { deviceNumber, deviceUse } from '../../../core/world/device-users.ts';
import type { DeviceFacts } from '../../../core/world/device-users.ts';
import { temporaryFolder } from '../../support/cleanup.ts';

/** /proc and /sys of a machine: sda2 is mounted, sdb1 is in a volume group, sdc a member of md0, sdd has it all unused. */
function machine(root: string): DeviceFacts {
  const write = (path: string, content: string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  };
  const disk = (name: string, number: string, parts: Record<string, string>, holders: Record<string, string>): void => {
    const folder = join('sys/devices', name);
    write(join(folder, 'dev'), `${number}\n`);
    mkdirSync(join(root, 'sys/dev/block'), { recursive: true });
    symlinkSync(`../../devices/${name}`, join(root, 'sys/dev/block', number));
    for (const [part, its] of Object.entries(parts)) {
      write(join(folder, part, 'partition'), '1\n');
      write(join(folder, part, 'dev'), `${its}\n`);
      symlinkSync(`../../devices/${name}/${part}`, join(root, 'sys/dev/block', its));
    }
    for (const [of, holder] of Object.entries(holders)) write(join('sys/devices', of, 'holders', holder, 'x'), '');
  };
  disk('sda', '8:0', { sda1: '8:1', sda2: '8:2' }, {});
  disk('sdb', '8:16', { sdb1: '8:17' }, { 'sdb/sdb1': 'dm-0' });
  disk('sdc', '8:32', { sdc1: '8:33' }, { sdc: 'md0' });
  disk('sdd', '8:48', { sdd1: '8:49' }, {});
  write('sys/class/block/dm-0/dm/name', 'vg-root\n');
  const mounts = [
    '22 27 0:21 / /sys rw,nosuid - sysfs sysfs rw',
    '27 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw',
    '28 27 8:2 /sub /some\\040where rw - ext4 /dev/sda2 rw',
  ];
  write('proc/self/mountinfo', `${mounts.join('\n')}\n`);
  write('proc/swaps', 'Filename Type Size Used Priority\n');
  return { proc: join(root, 'proc'), sys: join(root, 'sys') };
}

describe('what uses a device', () => {
  it('is a mount, a holder, a partition of it, or the disk it is on', () => {
    const folder = temporaryFolder('devices');
    try {
      const facts = machine(folder.path);
      const known: [string, string][] = [
        ['8:2', 'it is mounted on /'],
        ['8:0', 'its partition sda2 is mounted on /'],
        ['8:17', 'it is a part of dm-0 (vg-root)'],
        ['8:16', 'its partition sdb1 is a part of dm-0 (vg-root)'],
        ['8:32', 'it is a part of md0'],
        ['8:33', 'the disk it is on is a part of md0'],
        ['8:48', 'something in this machine has it open for itself alone'],
        ['8:49', 'something in this machine has it open for itself alone'],
        ['9:9', 'something in this machine has it open for itself alone'],
      ];
      for (const [number, use] of known) assert.equal(deviceUse(number, facts), use, number);
    } finally {
      folder.remove();
    }
  });

  it('is asked for by the number stat reports', () => {
    assert.equal(deviceNumber(0x0807), '8:7');
    assert.equal(deviceNumber(0x12_3456_78 >>> 0), '1110:74616');
    assert.equal(deviceNumber(0xfe01), '254:1');
  });
});
