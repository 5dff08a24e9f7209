// A file system that mkfs has made, with files in it, to copy and to compare copies with.
import { closeSync, ftruncateSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from './cleanup.ts';
import { needsAll } from './needs.ts';
import { runOk } from './process.ts';
import { projectFile } from './project.ts';

/** Why there can be none; false: there can. */
export const needsExt4 = (): string | false => needsAll(['mkfs.ext4', 'e2fsprogs'], ['e2fsck', 'e2fsprogs']);

/** An ext4 file system of so many bytes with the sources of this project in it. */
export async function ext4Image(bytes: number): Promise<Buffer> {
  const folder = temporaryFolder('ext4');
  try {
    const path = join(folder.path, 'image');
    const file = openSync(path, 'w');
    ftruncateSync(file, bytes);
    closeSync(file);
    await runOk('mkfs.ext4', ['-q', '-F', '-d', projectFile('core'), path]);
    return readFileSync(path);
  } finally {
    folder.remove();
  }
}

/** Fails when e2fsck finds anything wrong with it. */
export async function checkExt4(image: Buffer): Promise<void> {
  const folder = temporaryFolder('fsck');
  try {
    const path = join(folder.path, 'image');
    writeFileSync(path, image);
    await runOk('e2fsck', ['-fn', path]);
  } finally {
    folder.remove();
  }
}
