// Secrets for CHAP (libvirt.org, formatsecret): private, so that libvirt gives the value to QEMU and to nobody who asks.
import { element, toXml } from './xml.ts';

export interface SecretModel {
  readonly uuid: string;
  /** Name that pools and disks refer to. */
  readonly usage: string;
}

export function secretXml({ uuid, usage }: SecretModel): string {
  const target = element('usage', { type: 'iscsi' }, element('target', {}, usage));
  return toXml(element('secret', { ephemeral: 'no', private: 'yes' }, element('uuid', {}, uuid), target));
}
