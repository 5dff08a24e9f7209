// Where grains of a volume lie that are one behind the other in it, as plain numbers: a copy of gigabytes is some ten thousand
// grains, and an object for each would cost more than everything else about it.

export class Places {
  /** By grain: grain of the pool plus one; 0: nowhere. */
  readonly places: Uint32Array;
  /** By grain: which of its blocks hold data; none where it lies nowhere. */
  readonly valid: Uint16Array;
  /** By grain: CRC32C of its 16 blocks, where the data is new. */
  readonly sums: readonly Uint32Array[] | undefined;

  /** So many grains, nowhere yet. */
  constructor(count: number, sums?: readonly Uint32Array[], of?: Pick<Places, 'places' | 'valid'>) {
    this.places = of?.places ?? new Uint32Array(count);
    this.valid = of?.valid ?? new Uint16Array(count);
    this.sums = sums;
  }

  get count(): number {
    return this.places.length;
  }

  /** How many of them lie somewhere. */
  get placed(): number {
    return countPlaced(this.places);
  }

  put(at: number, place: number, valid: number): void {
    this.places[at] = place;
    this.valid[at] = place === 0 ? 0 : valid;
  }

  /** Those from `first` up to and without `end`; the same numbers, not a copy. */
  part(first: number, end: number): Places {
    const [places, valid] = [this.places.subarray(first, end), this.valid.subarray(first, end)];
    return new Places(places.length, this.sums?.slice(first, end), { places, valid });
  }
}

/** How many of them lie somewhere. */
export function countPlaced(places: Uint32Array): number {
  let count = 0;
  for (const place of places) if (place !== 0) count++;
  return count;
}

export function isNowhere(places: Uint32Array): boolean {
  for (const place of places) if (place !== 0) return false;
  return true;
}
