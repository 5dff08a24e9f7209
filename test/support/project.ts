// Where things lie in the checkout, whether a test runs from its source or from the compiled tree.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

function findRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  // dist/ has no package.json of its own, so the first one upwards is the project's.
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error('no package.json above the tests');
    folder = parent;
  }
  return folder;
}

/** The folder of the checkout. */
export const projectRoot = findRoot();

/** The absolute path of a file of the checkout, for scripts and data the compiler does not copy to dist/. */
export function projectFile(...parts: string[]): string {
  return join(projectRoot, ...parts);
}
