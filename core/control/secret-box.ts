import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';
import { ServiceError } from '../base/errors.ts';
import type { RandomSource } from '../base/world.ts';
import type { Sealed } from './records.ts';

const CIPHER = 'aes-256-gcm';
/** Bytes. */
export const SECRET_KEY_LENGTH = 32;
const IV_LENGTH = 12;
const TAG_LENGTH = 16;

/** Encrypts secrets for the catalog with the key of this data folder. */
export class SecretBox {
  readonly #key: Buffer;
  readonly #random: RandomSource;

  constructor(key: Buffer, random: RandomSource) {
    if (key.length !== SECRET_KEY_LENGTH) throw new RangeError(`a key of ${String(key.length)} bytes`);
    this.#key = key;
    this.#random = random;
  }

  /** Encrypts; `context` says what it is for, and open() wants the same, so that sealed secrets cannot be swapped. */
  seal(secret: Buffer, context: string): Sealed {
    const iv = this.#random.bytes(IV_LENGTH);
    const cipher = createCipheriv(CIPHER, this.#key, iv, { authTagLength: TAG_LENGTH });
    cipher.setAAD(Buffer.from(context));
    const data = Buffer.concat([cipher.update(secret), cipher.final()]);
    return { iv: iv.toString('base64'), tag: cipher.getAuthTag().toString('base64'), data: data.toString('base64') };
  }

  /** A keyed hash of `data`: says whether two are the same, and nothing to who does not have the key. */
  mac(data: Buffer, context: string): Buffer {
    // Another key than the one that encrypts.
    const key = createHmac('sha256', this.#key).update('mac').digest();
    return createHmac('sha256', key).update(`${context}\0`).update(data).digest();
  }

  /** Throws ServiceError folder-unusable when the key is another one or the record was changed. */
  open(sealed: Sealed, context: string): Buffer {
    try {
      const iv = Buffer.from(sealed.iv, 'base64');
      const decipher = createDecipheriv(CIPHER, this.#key, iv, { authTagLength: TAG_LENGTH });
      decipher.setAAD(Buffer.from(context));
      decipher.setAuthTag(Buffer.from(sealed.tag, 'base64'));
      return Buffer.concat([decipher.update(Buffer.from(sealed.data, 'base64')), decipher.final()]);
    } catch (error) {
      const message = `the secret of ${context} cannot be decrypted: secret.key is not the key of this data folder`;
      throw new ServiceError('folder-unusable', message, { cause: error });
    }
  }
}
