// The storage as the operations on virtual machines need it, over its API.
import { createHash } from 'node:crypto';
import { ServiceError } from '../../core/base/errors.ts';
import { TypedApi } from '../sdk/typed-api.ts';
import type { ApiCall, Schemas } from '../sdk/typed-api.ts';

export type StoredDisk = Schemas.Volume;

export class KvmStorage {
  readonly #api: TypedApi;
  readonly #list: (path: string) => Promise<unknown[]>;

  /** `list`: all items of a list (ApiClient.list). */
  constructor(call: ApiCall, list: (path: string) => Promise<unknown[]>) {
    this.#api = new TypedApi(call);
    this.#list = list;
  }

  async volumes(): Promise<StoredDisk[]> {
    return (await this.#list('/volumes')) as StoredDisk[];
  }

  /** Rejects with not-found. */
  volume(name: string): Promise<StoredDisk> {
    return this.#api.ask('GET /volumes/{name}', { params: { name } });
  }

  find(name: string): Promise<StoredDisk | undefined> {
    return unlessMissing(this.volume(name));
  }

  /** Names of the volumes this host sees, by its name, a group or an initiator. Empty: the catalog does not know it. */
  async visibleTo(host: string): Promise<string[]> {
    const found = await unlessMissing(this.#api.ask('GET /hosts/{name}', { params: { name: host } }));
    return found === undefined ? [] : [...found.volumes];
  }

  create(name: string, size: number, pool: string | undefined, key: string): Promise<StoredDisk> {
    const body = pool === undefined ? { name, size } : { name, size, pool };
    return this.#api.ask('POST /volumes', { body, headers: keyed(`create ${key}`) });
  }

  clone(from: string, name: string, initiator: string, key: string): Promise<StoredDisk> {
    const body = { name, maps: [{ initiator, access: 'read-write' as const }] };
    return this.#api.ask('POST /volumes/{name}/clone', {
      params: { name: from },
      body,
      headers: keyed(`clone ${key}`),
    });
  }

  async remove(name: string): Promise<void> {
    await unlessMissing(this.#api.ask('DELETE /volumes/{name}', { params: { name } }));
  }

  async resize(name: string, size: number): Promise<void> {
    await this.#api.ask('PATCH /volumes/{name}', { params: { name }, body: { size } });
  }

  async map(name: string, initiator: string): Promise<void> {
    const params = { name, initiator };
    await this.#api.ask('PUT /volumes/{name}/maps/{initiator}', { params, body: { access: 'read-write' } });
  }

  async unmap(name: string, initiator: string): Promise<void> {
    await unlessMissing(this.#api.ask('DELETE /volumes/{name}/maps/{initiator}', { params: { name, initiator } }));
  }

  /** Rejects with in-use when somebody else has it. */
  async lease(name: string, holder: string): Promise<void> {
    await this.#api.ask('PUT /volumes/{name}/lease', { params: { name }, body: { holder } });
  }

  /** Resolves also when the volume is gone, or nobody has it. Rejects with in-use when somebody else has it. */
  async release(name: string, holder: string): Promise<void> {
    await unlessMissing(this.#api.ask('DELETE /volumes/{name}/lease', { params: { name }, query: { holder } }));
  }

  /** All at one instant. */
  async snapshot(volumes: readonly string[], name: string, key: string): Promise<void> {
    const body = { volumes: [...volumes], name };
    await this.#api.ask('POST /snapshots', { body, headers: keyed(`snapshot ${key}`) });
  }

  async hasSnapshot(volume: string, snapshot: string): Promise<boolean> {
    const params = { name: volume, snapshot };
    return (await unlessMissing(this.#api.ask('GET /volumes/{name}/snapshots/{snapshot}', { params }))) !== undefined;
  }

  async removeSnapshot(volume: string, snapshot: string): Promise<void> {
    await unlessMissing(
      this.#api.ask('DELETE /volumes/{name}/snapshots/{snapshot}', { params: { name: volume, snapshot } }),
    );
  }

  async rollback(volume: string, snapshot: string, key: string): Promise<void> {
    const params = { name: volume, snapshot };
    const headers = keyed(`rollback ${volume} ${key}`);
    await this.#api.ask('POST /volumes/{name}/snapshots/{snapshot}/rollback', { params, headers });
  }

  /** Has the daemon know this host: its initiator, and what it signs in with. */
  async knowHost(name: string, iqn: string, chap: { user: string; secret: string } | undefined): Promise<void> {
    const body = { iqns: [iqn], profile: 'kvm' as const, ...(chap === undefined ? {} : { chap }) };
    await this.#api.ask('PUT /hosts/{name}', { params: { name }, body });
  }
}

/** A key of a flow may be anything, one of HTTP may not. */
const keyed = (key: string): Record<string, string> => ({
  'Idempotency-Key': createHash('sha256').update(key).digest('base64url'),
});

async function unlessMissing<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ServiceError && error.code === 'not-found') return undefined;
    throw error;
  }
}

/** HOST:PORT of its first portal. */
export function portalOf(disk: StoredDisk): string {
  return new URL(disk.url.replace(/^iscsi:/, 'http:')).host;
}
