// Passwords of people: what a new one must be like, and how they are kept.
import { scrypt, timingSafeEqual } from 'node:crypto';
import type { ScryptOptions } from 'node:crypto';
import { ServiceError } from '../base/errors.ts';
import { MAX_PASSWORD, MAX_WAITING_HASHES, MIN_PASSWORD } from '../base/limits.ts';
import { Turn } from '../base/turn.ts';
import type { RandomSource } from '../base/world.ts';
import { Throttled } from './login-throttle.ts';
import type { PasswordHash } from './security-records.ts';

/** N, r and p of RFC 7914 §2. */
export interface ScryptCost {
  readonly cost: number;
  readonly blockSize: number;
  readonly parallelization: number;
}

/** 32 MiB three times over: as hard to try as the usual 128 MiB once, with a quarter of the memory in use at a time. */
const SCRYPT: ScryptCost = { cost: 32_768, blockSize: 8, parallelization: 3 };
const SALT_BYTES = 16;
const HASH_BYTES = 32;
/** Different characters of a password at least: "aaaaaaaaaaaa" is long, too. */
const MIN_DIFFERENT = 5;

/** Throws ServiceError bad-request, without the password in it, when `password` is not good enough for `user`. */
export function checkNewPassword(password: string, user: string): void {
  const letters = Array.from(normal(password));
  const refuse = (why: string): never => {
    throw new ServiceError('bad-request', `the password ${why}`);
  };
  if (letters.length < MIN_PASSWORD) refuse(`has at least ${String(MIN_PASSWORD)} characters`);
  if (letters.length > MAX_PASSWORD) refuse(`has at most ${String(MAX_PASSWORD)} characters`);
  if (new Set(letters).size < MIN_DIFFERENT) refuse(`has at least ${String(MIN_DIFFERENT)} different characters`);
  const rest = letters.join('').toLowerCase().replaceAll(user.toLowerCase(), '');
  if (rest.length < MIN_PASSWORD / 2) refuse('is more than the name of the user');
}

/** The same characters typed on another keyboard are the same password (RFC 8265 §4.2.2 wants a normal form). */
const normal = (password: string): string => password.normalize('NFC');

/** Makes and checks hashes, one at a time: each takes memory, and one of the few threads disks are read with. */
export class Passwords {
  readonly #random: RandomSource;
  readonly #cost: ScryptCost;
  readonly #turn = new Turn();
  #waiting = 0;

  constructor(random: RandomSource, cost = SCRYPT) {
    this.#random = random;
    this.#cost = cost;
  }

  /** Rejects with ServiceError throttled when too many wait already. */
  async hash(password: string): Promise<PasswordHash> {
    const salt = this.#random.bytes(SALT_BYTES);
    const hash = await this.#derive(password, salt, this.#cost);
    return { scheme: 'scrypt', ...this.#cost, salt: salt.toString('base64'), hash: hash.toString('base64') };
  }

  /** True when `password` is the one of `kept`. Without `kept` it takes as long, and is false. */
  async verify(password: string, kept: PasswordHash | undefined): Promise<boolean> {
    const salt = kept === undefined ? Buffer.alloc(SALT_BYTES) : Buffer.from(kept.salt, 'base64');
    const given = await this.#derive(password, salt, kept ?? this.#cost);
    const wanted = kept === undefined ? Buffer.alloc(HASH_BYTES) : Buffer.from(kept.hash, 'base64');
    return timingSafeEqual(given, wanted) && kept !== undefined;
  }

  /** True when new hashes are made with other parameters than `kept`. */
  isOutdated(kept: PasswordHash): boolean {
    const { cost, blockSize, parallelization } = this.#cost;
    return kept.cost !== cost || kept.blockSize !== blockSize || kept.parallelization !== parallelization;
  }

  async #derive(password: string, salt: Buffer, { cost, blockSize, parallelization }: ScryptCost): Promise<Buffer> {
    if (this.#waiting >= MAX_WAITING_HASHES) throw new Throttled('too many logins at once', 1);
    this.#waiting++;
    // RFC 7914 §2: 128 * N * r bytes, and the blocks of all p.
    const maxmem = 128 * blockSize * (cost + parallelization + 2);
    const options = { N: cost, r: blockSize, p: parallelization, maxmem };
    return this.#turn
      .run(() => derive(normal(password), salt, options))
      .finally(() => {
        this.#waiting--;
      });
  }
}

function derive(password: string, salt: Buffer, options: ScryptOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(password, salt, HASH_BYTES, options, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}
