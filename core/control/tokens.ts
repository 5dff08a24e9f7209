import { createHash, timingSafeEqual } from 'node:crypto';
import type { World } from '../base/world.ts';
import type { Catalog } from './catalog.ts';
import { ROLES } from './records.ts';
import type { Role, TokenRecord } from './records.ts';

/** `gemel.<secret>.<base64url SHA-256 of the CA certificate>`: proves the client to us, and us to the client. */
const TOKEN = /^gemel\.([\w-]{43})\.([\w-]{43})$/;
const SECRET_BYTES = 32;

const hashOf = (secret: string): Buffer => createHash('sha256').update(secret).digest();

export interface Caller {
  readonly token: string;
  readonly role: Role;
}

/** True when `role` may do what `needed` may. */
export const mayAct = (role: Role, needed: Role): boolean => ROLES.indexOf(role) >= ROLES.indexOf(needed);

/** The API tokens. The catalog knows only their hashes. */
export class Tokens {
  readonly #catalog: Catalog;
  readonly #world: World;

  constructor(catalog: Catalog, world: World) {
    this.#catalog = catalog;
    this.#world = world;
  }

  /** Makes (or replaces) the token `name` and returns it; it cannot be read again later. */
  async issue(name: string, role: Role, caFingerprint: string): Promise<string> {
    const secret = this.#world.random.bytes(SECRET_BYTES).toString('base64url');
    const hash = hashOf(secret).toString('hex');
    const record: TokenRecord = { name, role, hash, created: this.#world.clock.wall() };
    await this.#catalog.apply(this.#catalog.tokens.edit(name, record));
    return `gemel.${secret}.${caFingerprint}`;
  }

  /** Who presents this token; undefined: nobody we know. Takes the same time for every wrong secret. */
  check(token: string): Caller | undefined {
    const secret = TOKEN.exec(token)?.[1];
    if (secret === undefined) return undefined;
    const given = hashOf(secret);
    let caller: Caller | undefined;
    for (const each of this.#catalog.tokens.values()) {
      if (timingSafeEqual(given, Buffer.from(each.hash, 'hex'))) caller = { token: each.name, role: each.role };
    }
    return caller;
  }

  /** The fingerprint part of a token. */
  static fingerprintOf(token: string): string | undefined {
    return TOKEN.exec(token)?.[2];
  }
}
