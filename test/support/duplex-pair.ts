// Two ends of a line in memory: what is written to one is read from the other. (node:stream has one since 20.17, but only as
// an experiment.)
import { Duplex } from 'node:stream';

class End extends Duplex {
  other: End | undefined;
  #resume: (() => void) | undefined;

  override _read(): void {
    const resume = this.#resume;
    this.#resume = undefined;
    resume?.();
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: () => void): void {
    const { other } = this;
    if (other === undefined || other.destroyed) done();
    else if (other.push(bytes)) done();
    else other.#resume = done;
  }

  override _final(done: () => void): void {
    this.other?.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const { other } = this;
    done(error);
    if (other !== undefined && !other.destroyed) other.destroy();
  }
}

export function duplexPair(): [Duplex, Duplex] {
  const [a, b] = [new End(), new End()];
  a.other = b;
  b.other = a;
  return [a, b];
}
