import { ServiceError } from '../base/errors.ts';
import { MAX_CHAP_SECRET, MAX_INITIATORS, MIN_CHAP_SECRET } from '../base/limits.ts';
import type { Clock } from '../base/world.ts';
import type { Catalog } from './catalog.ts';
import { checkInitiator } from './names.ts';
import type { ChapRecord, InitiatorRecord } from './records.ts';
import type { SecretBox } from './secret-box.ts';
import { Turn } from '../base/turn.ts';

export interface ChapRequest {
  readonly user: string;
  readonly secret: string;
}

export interface InitiatorRequest {
  readonly iqn: string;
  readonly chap?: ChapRequest | undefined;
  readonly mutual?: ChapRequest | undefined;
}

interface Chap {
  readonly user: string;
  readonly secret: Buffer;
}

/** What one initiator has to prove, and what we prove to it. */
export type InitiatorCredentials =
  | { readonly method: 'none' }
  | { readonly method: 'chap'; readonly user: string; readonly secret: Buffer; readonly mutual?: Chap };

const USER = /^[\x21-\x7e]{1,255}$/;

/** The known initiators and their CHAP secrets: encrypted in the catalog, in the clear only in memory. */
export class Initiators {
  readonly #catalog: Catalog;
  readonly #box: SecretBox;
  readonly #clock: Clock;
  readonly #credentials = new Map<string, InitiatorCredentials>();
  readonly #turn = new Turn();

  /** Throws ServiceError folder-unusable when the secrets of the catalog belong to another key. */
  constructor(catalog: Catalog, box: SecretBox, clock: Clock) {
    this.#catalog = catalog;
    this.#box = box;
    this.#clock = clock;
    for (const record of catalog.initiators.values()) this.#learn(record);
  }

  list(): InitiatorRecord[] {
    return this.#catalog.initiators.values();
  }

  /** Throws ServiceError not-found. */
  get(iqn: string): InitiatorRecord {
    const record = this.#catalog.initiators.get(checkInitiator(iqn));
    if (record === undefined) throw new ServiceError('not-found', `initiator ${iqn.toLowerCase()} is not known`);
    return record;
  }

  /** What this initiator (name in lower case) has to prove. Unknown ones prove nothing; what they see is the mapping's. */
  credentials(iqn: string): InitiatorCredentials {
    return this.#credentials.get(iqn) ?? { method: 'none' };
  }

  /** Makes an initiator known, or replaces its credentials. Rejects with bad-request or limit-reached. */
  put(request: InitiatorRequest): Promise<InitiatorRecord> {
    return this.#turn.run(async () => {
      const iqn = checkInitiator(request.iqn);
      const before = this.#catalog.initiators.get(iqn);
      if (before === undefined && this.#catalog.initiators.size >= MAX_INITIATORS) {
        throw new ServiceError('limit-reached', `${String(MAX_INITIATORS)} initiators are known already`);
      }
      checkCredentials(request);
      const { chap, mutual } = request;
      const record: InitiatorRecord = {
        iqn,
        created: before?.created ?? this.#clock.wall(),
        ...(chap === undefined ? {} : { chap: this.#seal(chap, context(iqn, 'chap')) }),
        ...(mutual === undefined ? {} : { mutual: this.#seal(mutual, context(iqn, 'mutual')) }),
      };
      await this.#catalog.apply(this.#catalog.initiators.edit(iqn, record));
      this.#learn(record);
      return record;
    });
  }

  /** Forgets an initiator and its secrets. Refused while a volume is mapped to it. */
  remove(name: string): Promise<void> {
    return this.#turn.run(async () => {
      const { iqn } = this.get(name);
      const mapped = this.#catalog.volumesMappedTo(iqn)[0];
      if (mapped !== undefined) {
        // Without its record it could still log in, with nothing to prove.
        throw new ServiceError('in-use', `volume '${mapped.name}' is mapped to ${iqn}; unmap it first`);
      }
      await this.#catalog.apply(this.#catalog.initiators.edit(iqn, undefined));
      this.#credentials.delete(iqn);
    });
  }

  #seal(chap: ChapRequest, purpose: string): ChapRecord {
    return { user: chap.user, secret: this.#box.seal(Buffer.from(chap.secret), purpose) };
  }

  #learn({ iqn, chap, mutual }: InitiatorRecord): void {
    if (chap === undefined) {
      this.#credentials.set(iqn, { method: 'none' });
      return;
    }
    const secret = this.#box.open(chap.secret, context(iqn, 'chap'));
    const own =
      mutual === undefined
        ? {}
        : { mutual: { user: mutual.user, secret: this.#box.open(mutual.secret, context(iqn, 'mutual')) } };
    this.#credentials.set(iqn, { method: 'chap', user: chap.user, secret, ...own });
  }
}

const context = (iqn: string, which: 'chap' | 'mutual'): string => `initiator ${iqn} ${which}`;

/** RFC 7143 §9.2.1. The messages never contain a secret. */
export function checkCredentials({ chap, mutual }: InitiatorRequest): void {
  for (const [what, each] of [
    ['CHAP', chap],
    ['mutual CHAP', mutual],
  ] as const) {
    if (each === undefined) continue;
    if (!USER.test(each.user)) {
      throw new ServiceError('bad-request', `the ${what} user has 1 to 255 printable ASCII characters without spaces`);
    }
    const length = Buffer.byteLength(each.secret);
    if (length < MIN_CHAP_SECRET || length > MAX_CHAP_SECRET) {
      const range = `${String(MIN_CHAP_SECRET)} to ${String(MAX_CHAP_SECRET)} bytes`;
      throw new ServiceError('bad-request', `the ${what} secret has ${range}, not ${String(length)}`);
    }
  }
  if (mutual === undefined) return;
  if (chap === undefined) throw new ServiceError('bad-request', 'mutual CHAP needs CHAP of the initiator as well');
  // RFC 7143 §9.2.1: the same secret both ways would let an attacker answer our challenge with our own answer.
  if (mutual.secret === chap.secret) throw new ServiceError('bad-request', 'the two CHAP secrets must differ');
}
