// The memory of all copies of the process. Who has none waits; nobody who holds a range waits for memory.
import { COPY_IDLE_MEMORY, COPY_MEMORY, COPY_STEP } from '../base/limits.ts';

class CopyBuffers {
  readonly #free: Buffer[] = [];
  readonly #waiting: ((buffer: Buffer) => void)[] = [];
  #out = 0;

  /** COPY_STEP bytes of anything; in order of the calls. */
  take(): Promise<Buffer> {
    if ((this.#out + 1) * COPY_STEP > COPY_MEMORY) return new Promise((resolve) => this.#waiting.push(resolve));
    this.#out++;
    return Promise.resolve(this.#free.pop() ?? Buffer.allocUnsafeSlow(COPY_STEP));
  }

  give(buffer: Buffer): void {
    const next = this.#waiting.shift();
    if (next !== undefined) {
      next(buffer);
      return;
    }
    this.#out--;
    if (this.#free.length * COPY_STEP < COPY_IDLE_MEMORY) this.#free.push(buffer);
  }
}

export const copyBuffers = new CopyBuffers();
