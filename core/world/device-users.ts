// Why the kernel does not let us have a block device. The refusal itself is the kernel's (O_EXCL); this only finds words.
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** Where the facts are; tests bring their own. */
export interface DeviceFacts {
  readonly proc: string;
  readonly sys: string;
}

const LINUX: DeviceFacts = { proc: '/proc', sys: '/sys' };

/** `8:0` of a device number as stat reports it (the encoding of glibc's makedev, as far as Linux uses it: 12 + 20 bits). */
export function deviceNumber(rdev: number): string {
  const major = (rdev >>> 8) & 0xfff;
  const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
  return `${String(major)}:${String(minor)}`;
}

/** What uses the device `number` (like 8:0): `it is mounted on /`, `its partition sda2 is swap space`, … */
export function deviceUse(number: string, facts: DeviceFacts = LINUX): string {
  const own = useOf(number, facts);
  if (own !== undefined) return `it is ${own}`;
  const folder = join(facts.sys, 'dev', 'block', number);
  for (const part of entries(folder)) {
    const its = text(join(folder, part, 'partition')) && text(join(folder, part, 'dev'));
    const use = its === undefined ? undefined : useOf(its, facts);
    if (use !== undefined) return `its partition ${part} is ${use}`;
  }
  // A partition cannot be had while somebody has the whole disk: the folder behind the symbolic link, so not joined.
  const whole = text(join(folder, 'partition')) && text(`${folder}/../dev`);
  const use = whole === undefined ? undefined : useOf(whole, facts);
  return use === undefined ? 'something in this machine has it open for itself alone' : `the disk it is on is ${use}`;
}

function useOf(number: string, facts: DeviceFacts): string | undefined {
  const mount = mountPoint(number, facts);
  if (mount !== undefined) return `mounted on ${mount}`;
  if (isSwap(number, facts)) return 'swap space';
  const holders = entries(join(facts.sys, 'dev', 'block', number, 'holders')).map((holder) => {
    const mapped = text(join(facts.sys, 'class', 'block', holder, 'dm', 'name'));
    return mapped === undefined ? holder : `${holder} (${mapped})`;
  });
  return holders.length === 0 ? undefined : `a part of ${holders.join(', ')}`;
}

/** /proc/self/mountinfo: number of the device in field 3, mount point in field 5, source behind ` - TYPE`. proc(5). */
function mountPoint(number: string, { proc }: DeviceFacts): string | undefined {
  for (const line of (text(join(proc, 'self', 'mountinfo')) ?? '').split('\n')) {
    const [front = '', back = ''] = line.split(' - ');
    const fields = front.split(' ');
    // Some file systems (btrfs) have a number of their own: their source tells.
    const source = unescaped(back.split(' ')[1] ?? '');
    if (fields[2] === number || numberOf(source) === number) return unescaped(fields[4] ?? '');
  }
  return undefined;
}

function isSwap(number: string, { proc }: DeviceFacts): boolean {
  const lines = (text(join(proc, 'swaps')) ?? '').split('\n').slice(1);
  return lines.some((line) => numberOf(unescaped(line.split(/\s/)[0] ?? '')) === number);
}

function numberOf(path: string): string | undefined {
  if (!path.startsWith('/dev/')) return undefined;
  const facts = statSync(path, { throwIfNoEntry: false });
  return facts?.isBlockDevice() === true ? deviceNumber(facts.rdev) : undefined;
}

/** The octal escapes of spaces and the like in files of /proc. */
function unescaped(word: string): string {
  return word.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
}

function text(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}
