// QEMU's tools as iSCSI initiators.
import { readdirSync, existsSync } from 'node:fs';
import { arch } from 'node:process';
import { needsAll, type Need } from './needs.ts';

/** Names of Debian's library folders, which hold QEMU's modules. */
const LIBRARY_FOLDERS: Readonly<Record<string, string>> = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' };

function iscsiModule(): string {
  const base = '/usr/lib';
  const folders = existsSync(base) ? readdirSync(base) : [];
  const found = folders.map((folder) => `${base}/${folder}/qemu/block-iscsi.so`).find((path) => existsSync(path));
  return found ?? `${base}/${LIBRARY_FOLDERS[arch] ?? arch}/qemu/block-iscsi.so`;
}

/** needsAll for QEMU's tools with their iSCSI module, and `more`. */
export function needsQemuTools(...more: Need[]): string | false {
  return needsAll(['qemu-img', 'qemu-utils'], ['qemu-io', 'qemu-utils'], [iscsiModule(), 'qemu-block-extra'], ...more);
}

export interface IscsiImage {
  /** HOST:PORT */
  portal: string;
  iqn: string;
  lun: number;
  initiator?: string;
  user?: string;
  /** With `user`: a file that holds the CHAP secret. */
  secretFile?: string;
  headerDigest?: 'crc32c' | 'none';
}

/** Arguments for qemu-img and qemu-io that define the secret of `image`; empty when it has none. */
export function secretArguments(image: IscsiImage): string[] {
  return image.secretFile === undefined ? [] : ['--object', `secret,id=chap,file=${image.secretFile}`];
}

/** What --image-opts takes for `image`. The secret itself never is an argument. */
export function imageOptions(image: IscsiImage): string {
  const options: [string, string | undefined][] = [
    ['driver', 'iscsi'],
    ['transport', 'tcp'],
    ['portal', image.portal],
    ['target', image.iqn],
    ['lun', String(image.lun)],
    ['initiator-name', image.initiator],
    ['user', image.user],
    ['password-secret', image.secretFile === undefined ? undefined : 'chap'],
    ['header-digest', image.headerDigest],
  ];
  return options.flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`])).join(',');
}
