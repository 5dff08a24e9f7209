// libvirt's XML: written so that no name can break out of it, read strictly, bounded.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { ServiceError } from '../../../core/base/errors.ts';
import { diskElement, diskXml, sourceOf } from '../../../plugins/kvm/model/disk.ts';
import { clonedDomain, disksOf, freeDevice, nameOf, parseDomain } from '../../../plugins/kvm/model/domain.ts';
import { lunOf, parsePool, poolXml, samePool } from '../../../plugins/kvm/model/pool.ts';
import { secretXml } from '../../../plugins/kvm/model/secret.ts';
import { child, element, parseXml, textOf, toXml } from '../../../plugins/kvm/model/xml.ts';

const text = fc.string({ unit: 'grapheme', maxLength: 40 }).filter((each) => {
  try {
    toXml(each);
    return true;
  } catch {
    return false;
  }
});

describe('XML', () => {
  test('carries any text there and back', () => {
    fc.assert(
      fc.property(text, text, (inside, attribute) => {
        const back = parseXml(toXml(element('a', { b: attribute }, element('c', {}, inside))));
        assert.equal(back.attributes['b'], attribute);
        assert.equal(textOf(child(back, 'c')), inside);
      }),
      { numRuns: 300 },
    );
    assert.equal(toXml(element('a', { b: '\'"><x/>' })), '<a b="&apos;&quot;&gt;&lt;x/&gt;"/>');
  });

  for (const [what, bad] of [
    ['a document type', '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'],
    ['a document type inside', '<a><!DOCTYPE a></a>'],
    ['an entity of its own', '<a>&x;</a>'],
    ['an ampersand', '<a>b & c</a>'],
    ['a processing instruction', '<a><?php x?></a>'],
    ['an element that does not end', '<a><b></a>'],
    ['two roots', '<a/><b/>'],
    ['an attribute twice', '<a b="1" b="2"/>'],
    ['an attribute without quotes', '<a b=1/>'],
    ['attributes without space', '<a b="1"c="2"/>'],
    ['< in an attribute', '<a b="<"/>'],
    ['a reference to nothing', '<a>&#0;</a>'],
    ['a control character', '<a>\u0001</a>'],
    ['nothing', ''],
    ['text alone', 'abc'],
    ['an end of a section in a text', '<a>]]></a>'],
    ['more depth than anything has', '<a>'.repeat(100) + '</a>'.repeat(100)],
    ['more than is read', `<a>${'x'.repeat(4_194_304)}</a>`],
  ] as const) {
    test(`refuses ${what}`, () => {
      assert.throws(() => parseXml(bad), { code: 'bad-request' });
    });
  }

  test('reads what libvirt writes around it', () => {
    const read = parseXml("<?xml version='1.0'?>\n<!-- made -->\n<a><!-- x --><b c='1'/>t<![CDATA[<&>]]></a>\n");
    assert.equal(textOf(read), 't<&>');
    assert.equal(child(read, 'b')?.attributes['c'], '1');
  });

  test('never does more than throw', () => {
    const pieces = fc.constantFrom(
      '<',
      '>',
      '/',
      '<a',
      '</a>',
      '&',
      ';',
      '"',
      "'",
      '=',
      ' ',
      'b',
      '<!--',
      '-->',
      '<![CDATA[',
      ']]>',
      '&#x',
      '&lt;',
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 30 }), (parts) => {
        try {
          parseXml(parts.join(''));
        } catch (thrown) {
          assert.ok(thrown instanceof ServiceError, String(thrown));
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('pools, secrets and disks', () => {
  const pool = {
    name: 'gemel-a<b',
    uuid: 'aaaaaaaa-bbbb-5ccc-8ddd-eeeeeeeeeeee',
    host: '10.0.0.11',
    port: 3260,
    target: 'iqn.2026-01.example:x',
    initiator: 'iqn.2026-01.example:h',
    chap: { user: 'u"><x', secretUsage: 's' },
  };
  test('a pool is read as it was written', () => {
    assert.deepEqual(parsePool(poolXml(pool)), pool);
    assert.ok(samePool(parsePool(poolXml(pool))!, pool));
    assert.ok(!samePool({ ...pool, chap: undefined }, pool));
    assert.ok(!samePool({ ...pool, port: 1 }, pool));
    assert.equal(parsePool("<pool type='dir'><name>x</name></pool>"), undefined);
    assert.throws(() => parsePool('<domain/>'), { code: 'bad-request' });
    assert.equal(lunOf('unit:0:0:12'), 12);
    assert.equal(lunOf('disk.qcow2'), undefined);
  });

  test('a secret is private', () => {
    const xml = parseXml(secretXml({ uuid: pool.uuid, usage: 'a&b' }));
    assert.equal(xml.attributes['private'], 'yes');
    assert.equal(textOf(child(xml, 'usage', 'target')), 'a&b');
  });

  test('the source of a disk is read as it was written', () => {
    const { chap, host, port, target, initiator } = pool;
    const iscsi = { kind: 'iscsi', target, lun: 3, host, port, initiator, chap } as const;
    const nbd = { kind: 'nbd', export: 'a', socket: '/run/x' } as const;
    for (const source of [iscsi, nbd]) {
      const disk = { form: 'disk', source, dev: 'sda', bus: 'scsi', serial: 'a' } as const;
      assert.deepEqual(sourceOf(diskElement(disk)), source);
    }
    const passed = diskXml({ form: 'lun', source: iscsi, dev: 'sda', bus: 'scsi', serial: 'a' });
    assert.doesNotMatch(passed, /serial|detect_zeroes/);
  });

  test('names of disks are free ones', () => {
    assert.equal(freeDevice(new Set(['vda', 'sda', 'vdb']), 'virtio'), 'vdc');
    const all = new Set(Array.from({ length: 26 }, (_, i) => `sd${String.fromCharCode(97 + i)}`));
    assert.throws(() => freeDevice(all, 'scsi'), { code: 'limit-reached' });
  });
});

test('a second domain has nothing of the first that only one may have', () => {
  const xml = `<domain type='kvm' id='3' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
    <name>one</name><uuid>aaaaaaaa-bbbb-5ccc-8ddd-eeeeeeeeeeee</uuid><memory unit='KiB'>1</memory>
    <os><type>hvm</type><nvram>/var/lib/one.fd</nvram></os>
    <devices>
      <disk type='network' device='disk'><source protocol='iscsi' name='iqn.2026-01.example:a/0'><host name='h' port='1'/></source>
        <target dev='sda' bus='scsi'/><serial>a</serial></disk>
      <disk type='file' device='cdrom'><source file='/x.iso'/><target dev='sdb' bus='sata'/></disk>
      <interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/></interface>
      <serial type='unix'><source mode='bind' path='/run/one.sock'/></serial>
      <graphics type='vnc' port='5901' autoport='no'/>
    </devices><qemu:commandline><qemu:arg value='-a &amp; b'/></qemu:commandline></domain>`;
  const source = {
    kind: 'iscsi',
    target: 'iqn.2026-01.example:b',
    lun: 0,
    host: 'h',
    port: 1,
    initiator: undefined,
  } as const;
  const second = parseDomain(
    clonedDomain(parseDomain(xml), 'two', 'bbbbbbbb-bbbb-5ccc-8ddd-eeeeeeeeeeee', new Map([['sda', source]])),
  );
  assert.equal(nameOf(second), 'two');
  const all = toXml(second);
  for (const own of ['aaaaaaaa', '52:54', 'one.fd', 'one.sock', '5901', 'example:a', "id='3'", '<serial>a']) {
    assert.ok(!all.includes(own), own);
  }
  assert.ok(all.includes('-a &amp; b') && all.includes('/x.iso') && all.includes('qemu:commandline'));
  const [disk, cd] = disksOf(second);
  assert.equal((disk?.source as typeof source).target, source.target);
  assert.equal(cd?.device, 'cdrom');
});
