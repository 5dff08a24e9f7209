import { createHash } from 'node:crypto';
import { ServiceError } from '../../core/base/errors.ts';
import type { NewStoredVolume, Storage, StoredVolume } from './storage.ts';
import { TypedApi } from './typed-api.ts';
import type { ApiCall, Schemas } from './typed-api.ts';

/** Storage by way of the REST API. */
export class ApiStorage implements Storage {
  readonly #api: TypedApi;

  constructor(call: ApiCall) {
    this.#api = new TypedApi(call);
  }

  async volume(name: string): Promise<StoredVolume | undefined> {
    const answer = await unlessMissing(this.#api.ask('GET /volumes/{name}', { params: { name } }));
    return answer === undefined ? undefined : storedOf(answer);
  }

  async createVolume({ name, size, pool }: NewStoredVolume, key: string): Promise<StoredVolume> {
    // A key of a flow may be anything, one of HTTP may not.
    const headers = { 'Idempotency-Key': createHash('sha256').update(`create ${key}`).digest('base64url') };
    const body = pool === undefined ? { name, size } : { name, size, pool };
    return storedOf(await this.#api.ask('POST /volumes', { body, headers }));
  }

  async deleteVolume(name: string): Promise<void> {
    await unlessMissing(this.#api.ask('DELETE /volumes/{name}', { params: { name } }));
  }

  async map(name: string, initiator: string): Promise<void> {
    const params = { name, initiator };
    await this.#api.ask('PUT /volumes/{name}/maps/{initiator}', { params, body: { access: 'read-write' } });
  }

  async unmap(name: string, initiator: string): Promise<void> {
    const params = { name, initiator };
    await unlessMissing(this.#api.ask('DELETE /volumes/{name}/maps/{initiator}', { params }));
  }
}

/** undefined instead of not-found. */
async function unlessMissing<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ServiceError && error.code === 'not-found') return undefined;
    throw error;
  }
}

function storedOf(volume: Schemas.Volume): StoredVolume {
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
