// A volume whose backend hangs while a test wants it to.
import { MemoryVolume } from '../../core/volume/memory-volume.ts';
import { WriteNow } from '../../core/volume/volume.ts';

export class StallingVolume extends MemoryVolume {
  #gate: Promise<void> | undefined;
  #open: () => void = () => undefined;
  #failure: Error | undefined;
  /** Reads and writes that hang. */
  waiting = 0;
  /** Reads and writes that were begun. */
  begun = 0;

  /** From now on reads and writes hang. */
  stall(): void {
    this.#gate ??= new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  /** What begins from now on does not hang; what hangs already goes on hanging. */
  recover(): void {
    this.#gate = undefined;
  }

  /** Everything goes on; with a failure, fails, also what comes later. */
  goOn(failure?: Error): void {
    this.#failure = failure;
    this.#gate = undefined;
    this.#open();
  }

  get #plain(): boolean {
    return this.#gate === undefined && this.#failure === undefined;
  }

  override readNow(position: number, length: number, target: Buffer, at: number): boolean {
    return this.#plain && super.readNow(position, length, target, at);
  }

  override viewNow(position: number, length: number, pieces: Buffer[]): boolean {
    return this.#plain && super.viewNow(position, length, pieces);
  }

  override async read(position: number, length: number, target: Buffer, at: number): Promise<void> {
    await this.#wait();
    super.readNow(position, length, target, at);
  }

  override writeNow(position: number, source: Buffer, at: number, length: number): WriteNow {
    return this.#plain ? super.writeNow(position, source, at, length) : WriteNow.refused;
  }

  override async write(position: number, source: Buffer, at: number, length: number): Promise<void> {
    await this.#wait();
    super.writeNow(position, source, at, length);
  }

  async #wait(): Promise<void> {
    this.begun++;
    if (this.#gate !== undefined) {
      this.waiting++;
      await this.#gate;
      this.waiting--;
    }
    if (this.#failure !== undefined) throw this.#failure;
  }
}
