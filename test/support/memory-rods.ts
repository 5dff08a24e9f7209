// Points in time of volumes in memory, for tests that are about the commands and not about the pool: copies.
import { MAX_TOKENS } from '../../core/base/limits.ts';
import { MemoryVolume } from '../../core/volume/memory-volume.ts';
import { RodLimit } from '../../core/volume/rod.ts';
import type { NewRod, Rod, RodEnd, RodSource, RodStore } from '../../core/volume/rod.ts';
import type { Volume } from '../../core/volume/volume.ts';

/** Bytes of all of them; the oldest go. */
const MOST = 67_108_864;

export class MemoryRods implements RodStore {
  readonly id = 'abcdef0123456789';
  readonly #rods = new Map<string, Rod>();
  readonly #gone = new Map<string, RodEnd>();
  /** ROD ids by how often they are in use. */
  readonly used = new Map<string, number>();
  /** What the next ROD is refused with. */
  refusal: Error | undefined;

  find(id: string): Rod | RodEnd | undefined {
    return this.#rods.get(id) ?? this.#gone.get(id);
  }

  rods(): Iterable<Rod> {
    return this.#rods.values();
  }

  use({ id }: Rod): () => void {
    this.used.set(id, (this.used.get(id) ?? 0) + 1);
    return () => this.used.set(id, (this.used.get(id) ?? 0) - 1);
  }

  delete(rod: Rod): void {
    this.end(rod, 'deleted');
  }

  end({ id }: Rod, why: RodEnd): void {
    this.#rods.delete(id);
    this.#gone.set(id, why);
  }

  clear(): void {
    this.#rods.clear();
    this.#gone.clear();
  }

  of(source: Volume): RodSource {
    return { store: this, make: (wanted) => this.#make(source, wanted) };
  }

  #bytes(): number {
    return [...this.#rods.values()].reduce((sum, { size }) => sum + size, 0);
  }

  async #make(source: Volume, { ranges, held, ...facts }: NewRod): Promise<Rod> {
    if (this.refusal !== undefined) throw this.refusal;
    if (this.#rods.size >= MAX_TOKENS) throw new RodLimit('number', 'too many');
    const size = ranges.reduce((sum, { length }) => sum + length, 0);
    for (const old of [...this.#rods.values()]) if (this.#bytes() + size > MOST) this.end(old, 'revoked');
    const volume = new MemoryVolume(size, 512);
    let at = 0;
    const segments = [];
    for (const { position, length } of ranges) {
      const bytes = Buffer.alloc(length);
      await source.read(position, length, bytes, 0);
      await volume.write(at, bytes, 0, length);
      segments.push({ position: at, length });
      at += length;
    }
    held();
    const rod: Rod = { ...facts, size, volume, segments };
    this.#rods.set(facts.id, rod);
    return rod;
  }
}
