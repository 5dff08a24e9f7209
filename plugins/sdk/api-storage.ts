import { createHash } from 'node:crypto';
import { ServiceError } from '../../core/base/errors.ts';
import type { NewStoredVolume, Storage, StoredVolume } from './storage.ts';

/** Calls the API: `path` below /api/v1. Rejects with the ServiceError the problem document stands for. */
export type ApiCall = (
  method: string,
  path: string,
  body?: unknown,
  headers?: Readonly<Record<string, string>>,
) => Promise<unknown>;

/** What the flows look at of a volume as the API describes it. */
interface ApiVolume {
  readonly name: string;
  readonly size: number;
  /** naa.DIGITS */
  readonly naa: string;
  readonly iqn: string;
  readonly lun: number;
  /** iscsi://HOST:PORT/IQN/LUN, one for each portal. */
  readonly urls: readonly string[];
  readonly state: string;
  readonly problem: string | null;
  readonly maps: readonly { readonly initiator: string }[];
}

/** Storage by way of the REST API. */
export class ApiStorage implements Storage {
  readonly #call: ApiCall;

  constructor(call: ApiCall) {
    this.#call = call;
  }

  async volume(name: string): Promise<StoredVolume | undefined> {
    const answer = await this.#unless('not-found', this.#call('GET', pathOf(name)));
    return answer === undefined ? undefined : storedOf(answer as ApiVolume);
  }

  async createVolume({ name, size, pool }: NewStoredVolume, key: string): Promise<StoredVolume> {
    // A key of a flow may be anything, one of HTTP may not.
    const headers = { 'Idempotency-Key': createHash('sha256').update(`create ${key}`).digest('base64url') };
    return storedOf((await this.#call('POST', '/volumes', { name, size, pool }, headers)) as ApiVolume);
  }

  async deleteVolume(name: string): Promise<void> {
    await this.#unless('not-found', this.#call('DELETE', pathOf(name)));
  }

  async map(name: string, initiator: string): Promise<void> {
    await this.#call('PUT', mapOf(name, initiator), {});
  }

  async unmap(name: string, initiator: string): Promise<void> {
    await this.#unless('not-found', this.#call('DELETE', mapOf(name, initiator)));
  }

  /** undefined instead of this error. */
  async #unless(code: ServiceError['code'], answer: Promise<unknown>): Promise<unknown> {
    try {
      return await answer;
    } catch (error) {
      if (error instanceof ServiceError && error.code === code) return undefined;
      throw error;
    }
  }
}

const pathOf = (name: string): string => `/volumes/${encodeURIComponent(name)}`;
const mapOf = (name: string, initiator: string): string => `${pathOf(name)}/maps/${encodeURIComponent(initiator)}`;

function storedOf(volume: ApiVolume): StoredVolume {
  return {
    name: volume.name,
    size: volume.size,
    naa: volume.naa.replace(/^naa\./, '').toLowerCase(),
    iqn: volume.iqn,
    lun: volume.lun,
    portals: volume.urls.map((url) => new URL(url.replace(/^iscsi:/, 'http:')).host),
    ready: volume.state === 'online',
    problem: volume.problem ?? undefined,
    initiators: volume.maps.map(({ initiator }) => initiator),
  };
}
