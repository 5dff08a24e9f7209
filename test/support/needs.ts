// Checks against real peers need programs that may not be installed. A check whose peer is missing is skipped with the
// command that installs it; it never passes silently.
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import process from 'node:process';

/** Programs some Debian accounts do not have on their PATH although they are installed. */
const EXTRA_FOLDERS = ['/usr/sbin', '/sbin', '/usr/local/sbin'];

/** The absolute path of `program`, or undefined when it is not installed. */
export function findProgram(program: string): string | undefined {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), ...EXTRA_FOLDERS]) {
    const path = join(folder, program);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not here.
    }
  }
  return undefined;
}

/** `program` (a name, or an absolute path of a file that must exist) comes with the Debian package `debianPackage`. */
export type Need = readonly [program: string, debianPackage: string];

/**
 * The reason to skip a check because programs are missing, naming the command that installs them; false when all are
 * there. Made for the `skip` option of node:test.
 */
export function needsAll(...needs: Need[]): string | false {
  const missing = needs.filter(([program]) => {
    if (!program.startsWith('/')) return findProgram(program) === undefined;
    try {
      accessSync(program);
      return false;
    } catch {
      return true;
    }
  });
  if (missing.length === 0) return false;
  const packages = [...new Set(missing.map(([, debianPackage]) => debianPackage))].join(' ');
  const programs = missing.map(([program]) => program).join(', ');
  return `${programs} not installed; as root: apt-get install --no-install-recommends ${packages}`;
}

/** needsAll for one program. */
export function needs(program: string, debianPackage: string): string | false {
  return needsAll([program, debianPackage]);
}
