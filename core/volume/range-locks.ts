// Locks over byte ranges of one volume. Plain reads and writes that complete in one turn only ask whether somebody is in
// the way; everything that takes time holds a lock: shared for plain reads and writes, exclusive for atomic commands.

interface Held {
  readonly position: number;
  readonly end: number;
  readonly exclusive: boolean;
  /** Set while it waits. */
  go: (() => void) | undefined;
}

export interface RangeLock {
  /** Gives the range free. Harmless when repeated. */
  release(): void;
}

const overlap = (a: Held, b: Held): boolean => a.position < b.end && b.position < a.end && (a.exclusive || b.exclusive);

export class RangeLocks {
  /** Granted and waiting ones in order of arrival: nobody overtakes somebody he conflicts with. */
  #line: Held[] = [];

  /** True when nobody holds or wants anything. */
  get idle(): boolean {
    return this.#line.length === 0;
  }

  /** Locks held or waited for. */
  get length(): number {
    return this.#line.length;
  }

  /** True when somebody who holds or waits for a conflicting range is in the way. Bytes. */
  blocks(position: number, length: number, exclusive: boolean): boolean {
    const end = position + length;
    for (const each of this.#line) {
      if ((each.exclusive || exclusive) && each.position < end && position < each.end) return true;
    }
    return false;
  }

  /** Resolves when the range is ours, in order of arrival among those that conflict. */
  acquire(position: number, length: number, exclusive: boolean): Promise<RangeLock> {
    const mine: Held = { position, end: position + length, exclusive, go: undefined };
    const waits = this.#line.some((each) => overlap(each, mine));
    this.#line.push(mine);
    const lock: RangeLock = {
      release: () => {
        this.#release(mine);
      },
    };
    if (!waits) return Promise.resolve(lock);
    return new Promise((resolve) => {
      mine.go = () => {
        resolve(lock);
      };
    });
  }

  #release(mine: Held): void {
    const at = this.#line.indexOf(mine);
    if (at < 0) return;
    this.#line.splice(at, 1);
    for (let i = at; i < this.#line.length; i++) {
      const each = this.#line[i] as Held;
      if (each.go === undefined || !overlap(each, mine) || this.#waitsBehind(each, i)) continue;
      const go = each.go;
      each.go = undefined;
      go();
    }
  }

  #waitsBehind(each: Held, at: number): boolean {
    for (let i = 0; i < at; i++) if (overlap(this.#line[i] as Held, each)) return true;
    return false;
  }
}
