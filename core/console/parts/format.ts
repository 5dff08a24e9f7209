// Numbers for people.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** `1.5 GiB`; three digits that count. */
export function bytes(value: number): string {
  let unit = 0;
  let rest = value;
  while (rest >= 1023.5 && unit < UNITS.length - 1) {
    rest /= 1024;
    unit++;
  }
  return `${short(rest, unit === 0)} ${UNITS[unit] ?? ''}`;
}

/** Three digits that count. */
function short(value: number, whole: boolean): string {
  if (whole || value >= 99.5 || Number.isInteger(value)) return String(Math.round(value));
  return value >= 9.95 ? value.toFixed(1) : value.toFixed(2);
}

export const rate = (bytesPerSecond: number): string => `${bytes(bytesPerSecond)}/s`;

/** `12.3k`. */
export function count(value: number): string {
  if (value < 9999.5) return short(value, value >= 99.5 || value === 0);
  if (value < 999_500) return `${short(value / 1000, false)}k`;
  return value < 999_500_000 ? `${short(value / 1e6, false)}M` : `${short(value / 1e9, false)}G`;
}

/** `350 µs`, `1.2 ms`. */
export function latency(microseconds: number): string {
  if (microseconds < 999.5) return `${short(microseconds, microseconds >= 99.5 || microseconds === 0)} µs`;
  if (microseconds < 999_500) return `${short(microseconds / 1000, false)} ms`;
  return `${short(microseconds / 1e6, false)} s`;
}

export const percent = (share: number): string => `${Math.round(share * 100)} %`;

/** The two largest units: `3 d 4 h`. */
export function duration(seconds: number): string {
  const parts: string[] = [];
  let rest = Math.max(0, Math.round(seconds));
  for (const [unit, size] of [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
    ['s', 1],
  ] as const) {
    const whole = Math.floor(rest / size);
    rest -= whole * size;
    if (whole > 0) parts.push(`${whole} ${unit}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join(' ') || '0 s';
}

const whenFormat = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

export function when(iso: string | number): string {
  return whenFormat.format(new Date(iso));
}

/** Bytes of `10G`, `1.5 TiB`, `4096`; undefined: not a size. Units are binary, as everywhere in Gemel. */
export function parseBytes(text: string): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)\s*(?:([KMGTP])(?:i?B)?|B)?\s*$/i.exec(text);
  if (match === null) return undefined;
  const unit = match[2] === undefined ? 0 : 'KMGTP'.indexOf(match[2].toUpperCase()) + 1;
  const value = Number(match[1]) * 1024 ** unit;
  return Number.isSafeInteger(Math.round(value)) ? Math.round(value) : undefined;
}

export const plural = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`;
