import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Version of the package this file belongs to. */
export function packageVersion(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  // The compiled tree has no package.json of its own, so the first one upwards is ours.
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) return '0.0.0';
    folder = parent;
  }
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version?: string };
  return version ?? '0.0.0';
}
