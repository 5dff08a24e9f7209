// Device identification VPD page (83h, SPC-4 7.8.6). What names the logical unit is the same through every port: multipath
// software puts paths together by it. Only the port and group designators differ.
import { groupIdOf } from '../alua.ts';
import { VENDOR } from '../identity.ts';
import type { LuIdentity } from '../identity.ts';
import type { LogicalUnit } from '../logical-unit.ts';
import { targetPortName } from '../lun-nexus.ts';
import type { LunNexus } from '../lun-nexus.ts';

const CodeSet = { binary: 1, ascii: 2, utf8: 3 } as const;
const Association = { logicalUnit: 0, targetPort: 1, targetDevice: 2 } as const;
/** DESIGNATOR TYPE (SPC-4 7.8.6.1). */
const Type = { t10VendorId: 1, naa: 3, relativePort: 4, portGroup: 5, scsiName: 8 } as const;
/** PROTOCOL IDENTIFIER of iSCSI (SPC-4 7.6.1). */
const PROTOCOL_ISCSI = 5;

const known = new WeakMap<LuIdentity, readonly Buffer[]>();

/**
 * The designation descriptors of the logical unit itself, which copy managers find it by. Made once: each copy looks at those of
 * many logical units. Not to be changed.
 */
export function unitDesignators({ identity }: LogicalUnit): readonly Buffer[] {
  let made = known.get(identity);
  if (made === undefined) {
    made = [
      designator(CodeSet.binary, Association.logicalUnit, Type.naa, identity.naa),
      designator(CodeSet.ascii, Association.logicalUnit, Type.t10VendorId, Buffer.from(VENDOR + identity.serial)),
    ];
    known.set(identity, made);
  }
  return made;
}

export function deviceIdentification(nexus: LunNexus): Buffer {
  const { lu, target } = nexus;
  return Buffer.concat([
    ...unitDesignators(lu),
    designator(CodeSet.binary, Association.targetPort, Type.relativePort, number(target.relativeId)),
    designator(CodeSet.binary, Association.targetPort, Type.portGroup, number(groupIdOf(target))),
    designator(CodeSet.utf8, Association.targetPort, Type.scsiName, scsiName(targetPortName(target))),
    designator(CodeSet.utf8, Association.targetDevice, Type.scsiName, scsiName(nexus.owner.device.name)),
  ]);
}

/** One designation descriptor (SPC-4 7.8.6.1). */
function designator(codeSet: number, association: number, type: number, value: Buffer): Buffer {
  // PIV and the protocol only mean something for ports and devices.
  const ofPort = association !== Association.logicalUnit;
  const header = [
    (ofPort ? PROTOCOL_ISCSI << 4 : 0) | codeSet,
    (ofPort ? 0x80 : 0) | (association << 4) | type,
    0,
    value.length,
  ];
  return Buffer.concat([Buffer.from(header), value]);
}

/** The four bytes of a relative port identifier or a group number (SPC-4 7.8.6.8, 7.8.6.9). */
const number = (value: number): Buffer => Buffer.from([0, 0, value >> 8, value & 0xff]);

/** SPC-4 7.8.6.11: NUL terminated, NUL padded to a multiple of four bytes, 256 bytes at most. */
function scsiName(name: string): Buffer {
  const length = Buffer.byteLength(name);
  const out = Buffer.alloc((length + 4) & ~3);
  out.write(name, 'utf8');
  return out;
}
