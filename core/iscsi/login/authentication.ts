// The security stage: which method, and the rounds of CHAP (RFC 7143 §12.1).
import type { Credentials } from '../context.ts';
import { CHALLENGE_LENGTH, MAX_CHALLENGE, chapResponse, chooseAlgorithm, sameResponse } from '../chap.ts';
import { encodeBinary, parseBinary, parseNumber } from '../wire/text.ts';

export type SecurityOutcome =
  { readonly kind: 'complete' | 'more'; readonly answers: [string, string][] } | { readonly kind: 'failed' };

type ChapCredentials = Extract<Credentials, { method: 'chap' }>;
const FAILED: SecurityOutcome = { kind: 'failed' };

export class Authentication {
  readonly #credentials: Credentials;
  readonly #random: (bytes: number) => Buffer;
  #state: 'method' | 'algorithm' | 'response' | 'done' = 'method';
  #algorithm = 0;
  #identifier = 0;
  #challenge: Buffer = Buffer.alloc(0);

  constructor(credentials: Credentials, random: (bytes: number) => Buffer) {
    this.#credentials = credentials;
    this.#random = random;
  }

  /** Nothing (more) has to be proved. */
  get satisfied(): boolean {
    return this.#state === 'done' || this.#credentials.method === 'none';
  }

  /** One request of the security stage. */
  step(pairs: ReadonlyMap<string, string>): SecurityOutcome {
    switch (this.#state) {
      case 'method':
        return this.#chooseMethod(pairs);
      case 'algorithm':
        return this.#chooseAlgorithm(pairs);
      case 'response':
        return this.#credentials.method === 'chap' ? this.#verify(pairs, this.#credentials) : FAILED;
      case 'done':
        return { kind: 'complete', answers: [] };
    }
  }

  #chooseMethod(pairs: ReadonlyMap<string, string>): SecurityOutcome {
    const offered = pairs.get('AuthMethod')?.split(',');
    if (this.#credentials.method === 'none') {
      // It may still offer methods, as long as it stays in this stage.
      if (offered === undefined) return { kind: 'complete', answers: [] };
      if (!offered.includes('None')) return FAILED;
      this.#state = 'done';
      return { kind: 'complete', answers: [['AuthMethod', 'None']] };
    }
    // Without an offer the initiator may still be about to make one.
    if (offered === undefined) return { kind: 'more', answers: [] };
    if (!offered.includes('CHAP')) return FAILED;
    this.#state = 'algorithm';
    return { kind: 'more', answers: [['AuthMethod', 'CHAP']] };
  }

  #chooseAlgorithm(pairs: ReadonlyMap<string, string>): SecurityOutcome {
    const algorithm = chooseAlgorithm(pairs.get('CHAP_A') ?? '');
    if (algorithm === undefined) return FAILED;
    this.#algorithm = algorithm;
    this.#identifier = this.#random(1)[0] ?? 0;
    this.#challenge = this.#random(CHALLENGE_LENGTH);
    this.#state = 'response';
    return {
      kind: 'more',
      answers: [
        ['CHAP_A', String(algorithm)],
        ['CHAP_I', String(this.#identifier)],
        ['CHAP_C', encodeBinary(this.#challenge)],
      ],
    };
  }

  #verify(pairs: ReadonlyMap<string, string>, credentials: ChapCredentials): SecurityOutcome {
    const response = parseBinary(pairs.get('CHAP_R') ?? '');
    if (response === undefined) return FAILED;
    const expected = chapResponse(this.#algorithm, this.#identifier, credentials.secret, this.#challenge);
    const right = sameResponse(expected, response);
    if (!right || pairs.get('CHAP_N') !== credentials.user) return FAILED;
    const answers = this.#proveOurselves(pairs, credentials);
    if (answers === undefined) return FAILED;
    this.#state = 'done';
    return { kind: 'complete', answers };
  }

  /** Mutual CHAP: the initiator asks us. undefined: we cannot or must not answer. */
  #proveOurselves(
    pairs: ReadonlyMap<string, string>,
    { mutual, secret }: ChapCredentials,
  ): [string, string][] | undefined {
    const challengeText = pairs.get('CHAP_C');
    if (challengeText === undefined) return [];
    const challenge = parseBinary(challengeText);
    const identifier = parseNumber(pairs.get('CHAP_I') ?? '');
    if (mutual === undefined || challenge === undefined || identifier === undefined || identifier > 255)
      return undefined;
    if (challenge.length > MAX_CHALLENGE) return undefined;
    // RFC 7143 §12.1.3: a reflected challenge, or one secret for both directions, would let us be used as an oracle.
    if (challenge.equals(this.#challenge) || mutual.secret.equals(secret)) return undefined;
    const response = chapResponse(this.#algorithm, identifier, mutual.secret, challenge);
    return [
      ['CHAP_N', mutual.user],
      ['CHAP_R', encodeBinary(response)],
    ];
  }
}
