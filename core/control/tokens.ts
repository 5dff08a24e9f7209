import { createHash, timingSafeEqual } from 'node:crypto';
import { ServiceError, messageOf } from '../base/errors.ts';
import { MAX_API_TOKENS, TOKEN_USE_STEP } from '../base/limits.ts';
import { silentLog } from '../base/log.ts';
import type { Log } from '../base/log.ts';
import { Turn } from '../base/turn.ts';
import type { World } from '../base/world.ts';
import type { Caller } from './callers.ts';
import type { Catalog } from './catalog.ts';
import type { Collection } from './collection.ts';
import { checkName, printable } from './names.ts';
import type { Role, TokenRecord } from './records.ts';

/** `gemel.<secret>.<base64url SHA-256 of the CA certificate>`: proves the client to us, and us to the client. */
const TOKEN = /^gemel\.([\w-]{43})\.([\w-]{43})$/;
const SECRET_BYTES = 32;
/** Name of the token in the data folder, which is made anew at a start without the file. */
export const OWNER_TOKEN = 'owner';

const hashOf = (secret: string): Buffer => createHash('sha256').update(secret).digest();

export interface TokenRequest {
  readonly name: string;
  readonly role: Role;
  /** Milliseconds since 1970. */
  readonly expires?: number | undefined;
}

/** The API tokens, the same at all nodes of a cluster but for OWNER_TOKEN. The catalog knows only their hashes. */
export class Tokens {
  readonly #catalog: Catalog;
  readonly #world: World;
  readonly #log: Log;
  readonly #turn = new Turn();
  /** Hashes of those whose use is being kept: while the store does not answer, requests do not queue up behind each other. */
  readonly #keeping = new Set<string>();

  constructor(catalog: Catalog, world: World, log: Log = silentLog) {
    this.#catalog = catalog;
    this.#world = world;
    this.#log = log;
  }

  /** Makes (or replaces) the token `name` and returns it; it cannot be read again later. */
  issue(name: string, role: Role, caFingerprint: string): Promise<string> {
    return this.#turn.run(async () => (await this.#make({ name, role }, caFingerprint)).secret);
  }

  /** A new token, and what to send as bearer. Rejects with bad-request, exists or limit-reached. */
  create(request: TokenRequest, caFingerprint: string): Promise<{ record: TokenRecord; secret: string }> {
    return this.#turn.run(async () => {
      const name = checkName(request.name, 'token');
      const { tokens } = this.#catalog;
      if (name === OWNER_TOKEN || tokens.get(name) !== undefined) {
        throw new ServiceError('exists', `there is a token '${name}' already`);
      }
      if (tokens.size >= MAX_API_TOKENS) {
        throw new ServiceError('limit-reached', `there are ${String(MAX_API_TOKENS)} tokens already`);
      }
      if (request.expires !== undefined && request.expires <= this.#world.clock.wall()) {
        throw new ServiceError('bad-request', 'the token would have expired already');
      }
      return this.#make({ ...request, name }, caFingerprint);
    });
  }

  async #make(request: TokenRequest, caFingerprint: string): Promise<{ record: TokenRecord; secret: string }> {
    const secret = this.#world.random.bytes(SECRET_BYTES).toString('base64url');
    const { name, role, expires } = request;
    const record: TokenRecord = {
      ...{ name, role, hash: hashOf(secret).toString('hex'), created: this.#world.clock.wall() },
      ...(expires === undefined ? {} : { expires }),
    };
    await this.#catalog.apply(this.#home(name).edit(name, record));
    return { record, secret: `gemel.${secret}.${caFingerprint}` };
  }

  /** Where the token with this name is kept. */
  #home(name: string): Collection<TokenRecord> {
    const { tokens, nodeTokens } = this.#catalog;
    return name === OWNER_TOKEN ? nodeTokens : tokens;
  }

  /** Older releases kept the token of the data folder among the others, where other nodes would see it. */
  async settle(): Promise<void> {
    const { tokens, nodeTokens } = this.#catalog;
    const before = tokens.get(OWNER_TOKEN);
    if (before === undefined) return;
    const kept = nodeTokens.get(OWNER_TOKEN) ?? before;
    await this.#catalog.apply(nodeTokens.edit(OWNER_TOKEN, kept), tokens.edit(OWNER_TOKEN, undefined));
  }

  /** In order of name. */
  list(): TokenRecord[] {
    const { tokens, nodeTokens } = this.#catalog;
    return [...tokens.values(), ...nodeTokens.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Throws ServiceError not-found. */
  get(name: string): TokenRecord {
    const record = this.#home(name).get(name);
    if (record === undefined) throw new ServiceError('not-found', `there is no token '${printable(name)}'`);
    return record;
  }

  /** Rejects with not-found, or in-use for the one of the data folder. */
  revoke(name: string): Promise<void> {
    return this.#turn.run(async () => {
      this.get(name);
      if (name === OWNER_TOKEN) {
        const how = 'remove the file token there and start the daemon again to have another one';
        throw new ServiceError('in-use', `'${name}' is the token of the data folder: ${how}`);
      }
      await this.#catalog.apply(this.#catalog.tokens.edit(name, undefined));
    });
  }

  /** Who presents this token; undefined: nobody we know. Takes the same time for every wrong secret. */
  check(token: string): Caller | undefined {
    const secret = TOKEN.exec(token)?.[1];
    if (secret === undefined) return undefined;
    const given = hashOf(secret);
    let found: TokenRecord | undefined;
    const { tokens, nodeTokens } = this.#catalog;
    for (const [, each] of [...tokens.entries(), ...nodeTokens.entries()]) {
      if (timingSafeEqual(given, Buffer.from(each.hash, 'hex'))) found = each;
    }
    if (found === undefined || !this.isGood(found.name)) return undefined;
    this.#used(found);
    const { name, role, created, expires } = found;
    return { kind: 'token', name, role, token: { created, expires } };
  }

  /** True while there is a token of this name that has not expired; `created`: and was made then, so it is not another one by now. */
  isGood(name: string, created?: number): boolean {
    const record = this.#home(name).get(name);
    if (created !== undefined && record?.created !== created) return false;
    return record !== undefined && (record.expires === undefined || this.#world.clock.wall() < record.expires);
  }

  #used({ name, hash, lastUsed }: TokenRecord): void {
    const now = this.#world.clock.wall();
    if (lastUsed !== undefined && Math.abs(now - lastUsed) < TOKEN_USE_STEP) return;
    if (this.#keeping.has(hash)) return;
    this.#keeping.add(hash);
    const keep = async (): Promise<void> => {
      const record = this.#home(name).get(name);
      // Another request may have been faster, or the token revoked and made anew.
      if (record?.hash !== hash || record.lastUsed !== lastUsed) return;
      const step = Math.floor(now / TOKEN_USE_STEP) * TOKEN_USE_STEP;
      await this.#catalog.apply(this.#home(name).edit(name, { ...record, lastUsed: step }));
    };
    this.#turn
      .run(keep)
      .catch((error: unknown) => {
        this.#log.warn({ name, error: messageOf(error) }, 'the last use of an API token could not be kept');
      })
      .finally(() => this.#keeping.delete(hash));
  }

  /** The fingerprint part of a token. */
  static fingerprintOf(token: string): string | undefined {
    return TOKEN.exec(token)?.[2];
  }
}
