import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { profilesFor } from '../../../core/control/profiles.ts';

const site = {
  portals: ['192.0.2.1:3260', '[2001:db8::1]:3260'],
  volume: 'vm-1',
  iqn: 'iqn.2026-11.org.gemel:1:vm-1',
  naa: 'naa.602474d0123456789abcdef012345678',
  lun: 3,
};

describe('profiles', () => {
  it('are the rows of the deployment matrix', () => {
    assert.deepEqual(
      profilesFor(site).map(({ id }) => id),
      [
        'converged-hyperv',
        'converged-kvm',
        'converged-guest',
        'separate-hyperv-sofs',
        'separate-hyperv-iscsi',
        'separate-block',
        'separate-nfs',
        'beyond-a-pair',
      ],
    );
  });

  it('say what has been verified, and what to do', () => {
    for (const { id, verified, steps, when } of profilesFor(site)) {
      assert.ok(verified.length > 0, id);
      assert.ok(steps.length >= 3, id);
      assert.ok(when.length > 0, id);
    }
  });

  it('offer the plugin for Proxmox VE before LVM', () => {
    const block = profilesFor(site).find(({ id }) => id === 'separate-block');
    const names = block?.steps.flatMap(({ files }) => files.map(({ name }) => name)) ?? [];
    assert.ok(names.includes('proxmox-plugin.sh') && names.includes('storage.cfg'));
    assert.ok(names.indexOf('proxmox-plugin.sh') < names.indexOf('storage.cfg'));
  });

  it('have the names of the volume in their settings, and every portal', () => {
    const files = new Map(
      profilesFor(site).flatMap(({ steps }) =>
        steps.flatMap((step) => step.files.map((each) => [each.name, each.content])),
      ),
    );
    const text = (name: string): string => files.get(name) ?? assert.fail(name);
    assert.match(text('connect-esxi.sh'), /-a 192\.0\.2\.1:3260\n.*-a \[2001:db8::1\]:3260/);
    assert.match(text('connect-esxi.sh'), /device list -d naa\.602474d0123456789abcdef012345678/);
    assert.match(text('Connect-Gemel.ps1'), /-TargetPortalAddress 2001:db8::1 -TargetPortalPortNumber 3260/);
    assert.match(text('Connect-Gemel.ps1'), /UniqueId -like '\*602474D0123456789ABCDEF012345678\*'/);
    assert.match(text('gemel-disk.xml'), /name='iqn\.2026-11\.org\.gemel:1:vm-1\/3'/);
    assert.match(text('create-sr.sh'), /SCSIid=3602474d0123456789abcdef012345678/);
    assert.match(text('create-sr.sh'), /multihomelist=192\.0\.2\.1:3260,\[2001:db8::1\]:3260/);
    assert.match(
      text('connect-linux.sh'),
      /iscsiadm -m node -T iqn\.2026-11\.org\.gemel:1:vm-1 -p 192\.0\.2\.1:3260 --login/,
    );
  });
});
