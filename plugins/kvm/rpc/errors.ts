// What libvirt says when it does not do something.
import { ServiceError } from '../../../core/base/errors.ts';
import type { ErrorCode } from '../../../core/base/errors.ts';
import { error } from './types.ts';
import type { XdrReader, XdrWriter } from './xdr.ts';

/** Numbers of libvirt's errors (virErrorNumber) that somebody here decides by. */
export const LibvirtCode = {
  internal: 1,
  noSupport: 3,
  operationFailed: 9,
  xml: 27,
  noDomain: 42,
  authFailed: 45,
  noPool: 49,
  noVolume: 50,
  operationInvalid: 55,
  noSecret: 66,
  configUnsupported: 67,
  operationTimeout: 68,
  unsupported: 84,
  agentUnresponsive: 86,
  resourceBusy: 87,
  volumeExists: 90,
  noDevice: 99,
} as const;

const CATALOGUE: Readonly<Record<number, ErrorCode>> = {
  [LibvirtCode.noDomain]: 'not-found',
  [LibvirtCode.noPool]: 'not-found',
  [LibvirtCode.noVolume]: 'not-found',
  [LibvirtCode.noSecret]: 'not-found',
  [LibvirtCode.noDevice]: 'not-found',
  [LibvirtCode.volumeExists]: 'exists',
  [LibvirtCode.resourceBusy]: 'in-use',
};
/** virErrorLevel: an error, not a warning. */
const LEVEL_ERROR = 2;

/** An error of libvirt: `number` is its virErrorNumber, `domain` the part of it that complains (18: storage). */
export class LibvirtError extends ServiceError {
  readonly number: number;
  readonly domain: number;

  constructor(number: number, domain: number, message: string) {
    super(CATALOGUE[number] ?? 'hypervisor-refused', `libvirt: ${message}`);
    this.name = 'LibvirtError';
    this.number = number;
    this.domain = domain;
  }
}

/** True for an error of libvirt with one of these numbers. */
export function isLibvirt(thrown: unknown, ...numbers: readonly number[]): boolean {
  return thrown instanceof LibvirtError && numbers.includes(thrown.number);
}

/** Reads the body of a message of status error. Throws ProtocolError. */
export function readError(xdr: XdrReader): LibvirtError {
  const { code, domain, message } = error.read(xdr);
  xdr.end();
  return new LibvirtError(code, domain, message ?? `error ${String(code)}`);
}

/** Such a body, for whoever answers as libvirtd does. */
export function writeError(xdr: XdrWriter, code: number, domain: number, message: string): void {
  const none = { dom: undefined, str1: '%s', str2: message, str3: undefined, int1: -1, int2: -1, net: undefined };
  error.write(xdr, { code, domain, message, level: LEVEL_ERROR, ...none });
}
