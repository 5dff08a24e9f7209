// Settings of the API's security that are changed while it runs.
import { ServiceError } from '../base/errors.ts';
import { MAX_FRAME_ORIGINS } from '../base/limits.ts';
import type { Catalog } from './catalog.ts';
import { printable } from './names.ts';
import type { SecuritySettingsRecord } from './security-records.ts';

const NONE: SecuritySettingsRecord = { frameOrigins: [], apiNames: [] };
const SELF = 'self';
const DNS_NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;

export class SecuritySettings {
  readonly #catalog: Catalog;
  readonly #listeners: (() => void)[] = [];

  constructor(catalog: Catalog) {
    this.#catalog = catalog;
  }

  get(): SecuritySettingsRecord {
    return this.#catalog.security.settings.get(SELF) ?? NONE;
  }

  /** Calls `listener` after each change. */
  watch(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Rejects with ServiceError bad-request. */
  async put(wanted: SecuritySettingsRecord): Promise<SecuritySettingsRecord> {
    const frameOrigins = [...new Set(wanted.frameOrigins.map(checkOrigin))];
    const apiNames = [...new Set(wanted.apiNames.map(checkDnsName))];
    if (Math.max(frameOrigins.length, apiNames.length) > MAX_FRAME_ORIGINS) {
      throw new ServiceError('bad-request', `at most ${String(MAX_FRAME_ORIGINS)} of each`);
    }
    const record = { frameOrigins, apiNames };
    await this.#catalog.apply(this.#catalog.security.settings.edit(SELF, record));
    for (const each of this.#listeners) each();
    return record;
  }
}

/** It goes into a header as it is: only what an origin (RFC 6454 §6.2) can be. */
function checkOrigin(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'https:' && url.origin === text.toLowerCase() && /^[\w.:[\]/-]+$/.test(url.origin)) {
    return url.origin;
  }
  throw new ServiceError('bad-request', `'${printable(text)}' is not an origin like https://vcenter.example:8443`);
}

function checkDnsName(text: string): string {
  const name = text.toLowerCase();
  if (DNS_NAME.test(name) && /[a-z]/.test(name)) return name;
  throw new ServiceError('bad-request', `'${printable(text)}' is not a DNS name like storage.example`);
}
