// What one copy has done, for the truth meter of the logical unit that was asked, and for the copy routes of those written to.
import type { CopyCount } from '../volume/copy.ts';
import { copyPace } from '../volume/copy-pace.ts';
import type { LogicalUnit } from './logical-unit.ts';
import type { LunNexus } from './lun-nexus.ts';
import type { OffloadKind } from './offload-meter.ts';

export class CopyWork {
  readonly #nexus: LunNexus;
  readonly #kind: OffloadKind;
  readonly #began: number;
  readonly #waits = copyPace.waits;
  readonly #targets = new Set<LogicalUnit>();
  #shared = 0;
  #copied = 0;

  /** The copy begins now. */
  constructor(nexus: LunNexus, kind: OffloadKind) {
    this.#nexus = nexus;
    this.#kind = kind;
    this.#began = nexus.lu.clock.now();
  }

  /** Bytes of one step, written to `target`. */
  add(target: LogicalUnit, { shared, copied }: CopyCount): void {
    this.#targets.add(target);
    this.#shared += shared;
    this.#copied += copied;
  }

  /** It was carried out. */
  done(): void {
    const { lu } = this.#nexus;
    const micros = (lu.clock.now() - this.#began) * 1000;
    const work = { shared: this.#shared, copied: this.#copied, micros };
    // What made room for others was not as fast as it could be.
    const held = copyPace.waits !== this.#waits;
    const routes = held ? [] : [...this.#targets].map(({ copyRoute }) => copyRoute);
    lu.offload.used(this.#nexus, this.#kind, work, routes);
  }
}
