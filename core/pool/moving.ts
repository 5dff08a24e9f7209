// A pool leaves this node (export) or comes to it (import). It is closed.
import { ServiceError } from '../base/errors.ts';
import type { DiskFile, World } from '../base/world.ts';
import { readExport, readNote, writeExport } from './export.ts';
import { memberAt, PoolDisks } from './members.ts';
import type { PoolPlace } from './open.ts';
import type { MemberRecord, PoolMeta, PoolState } from './pool-meta.ts';
import type { PoolFiles } from './pool-files.ts';
import { readSuperblock, writeSuperblock } from './superblocks.ts';
import type { Superblock } from './format.ts';

interface Head {
  readonly file: DiskFile;
  readonly superblock: Superblock;
}

async function withHead<T>(files: PoolFiles, work: (head: Head) => Promise<T>): Promise<T> {
  try {
    const file = await files.superblock().catch((error: unknown) => {
      if (!(error instanceof ServiceError) || error.code !== 'not-found') throw error;
      throw new ServiceError('not-found', `there is no pool in ${files.name}`, { cause: error });
    });
    try {
      return await work({ file, superblock: await readSuperblock(file) });
    } finally {
      await file.close();
    }
  } finally {
    await files.close();
  }
}

/** The pool takes its metadata, and the owner's note, with it; its store is not needed any more. Rejects with ServiceError. */
export async function exportPool(place: PoolPlace, note: object): Promise<void> {
  await withHead(place.files, async ({ file, superblock }) => {
    if (exportedBytes(superblock) > 0) return;
    if (!superblock.clean) {
      throw new ServiceError('io-error', 'the pool was not closed in an orderly way: its journal is needed still');
    }
    const journal = await place.files.journal(superblock.journalBytes);
    const meta = place.meta();
    try {
      const content = meta.load();
      if (content === undefined) throw new ServiceError('io-error', 'the metadata of the pool is missing');
      const exported = await writeExport(journal, superblock.journalBytes, content, note);
      await writeSuperblock(file, { ...superblock, exported, serial: superblock.serial + 1 });
    } finally {
      await meta.close();
      await journal.close();
    }
  });
}

/** Is the pool in this place on its way between two nodes? Rejects with ServiceError when there is none. */
export const isExported = (files: PoolFiles): Promise<boolean> =>
  withHead(files, ({ superblock }) => Promise.resolve(exportedBytes(superblock) > 0));

const exportedBytes = (superblock: Superblock): number => superblock.exported ?? 0;

/** What was exported: the note of the owner, and the pool. Rejects with ServiceError. */
export function lookAtExport(files: PoolFiles): Promise<{ note: unknown; state: PoolState; poolId: string }> {
  return withHead(files, async ({ superblock }) => {
    if (exportedBytes(superblock) === 0) {
      const what = `the pool in ${files.name} was not exported: another node may be using it`;
      throw new ServiceError('in-use', what);
    }
    const journal = await files.journal(superblock.journalBytes);
    try {
      const found = await readNote(journal, exportedBytes(superblock));
      return { ...found, poolId: superblock.poolId.toString('hex') };
    } finally {
      await journal.close();
    }
  });
}

/**
 * Where the members of an exported pool are, among these places, in any order. Rejects with ServiceError that names a place
 * that is no member, or the place a missing one was in before.
 */
export async function findMembers(
  world: World,
  poolId: string,
  members: readonly MemberRecord[],
  places: readonly Pick<MemberRecord, 'kind' | 'path'>[],
): Promise<MemberRecord[]> {
  const found = new Map<number, MemberRecord>();
  for (const { kind, path } of places) {
    const header = await memberAt(world, { kind, path });
    if (header?.poolId.toString('hex') !== poolId || !members.some(({ index }) => index === header.index)) {
      throw new ServiceError('bad-request', `${path} is no part of this pool`);
    }
    found.set(header.index, { index: header.index, kind, path });
  }
  return members.map((member) => {
    const present = found.get(member.index);
    if (present !== undefined) return present;
    const what = `part ${String(member.index)} of the pool is missing: it was ${member.path} when it was exported`;
    throw new ServiceError('bad-request', what);
  });
}

/** Fills the store of `place` with what was exported; the pool stays exported until `attachPool`. */
export async function importMeta(place: PoolPlace, members: readonly MemberRecord[]): Promise<void> {
  await withHead(place.files, async ({ superblock }) => {
    const journal = await place.files.journal(superblock.journalBytes);
    const disks = new PoolDisks(place.world, place.files, superblock);
    const meta: PoolMeta = place.meta();
    try {
      await disks.open(members);
      const bytes = exportedBytes(superblock);
      const { state } = await readNote(journal, bytes);
      await readExport(journal, bytes, meta, { ...state, members });
    } finally {
      await meta.close();
      await journal.close();
      await disks.close();
    }
  });
}

/** The pool belongs to whoever has its metadata. Can be repeated. */
export async function attachPool(files: PoolFiles): Promise<void> {
  await withHead(files, async ({ file, superblock }) => {
    if (exportedBytes(superblock) === 0) return;
    await writeSuperblock(file, { ...superblock, exported: 0, serial: superblock.serial + 1 });
  });
}
