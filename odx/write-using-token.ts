// WRITE USING TOKEN (SBC-3 5.46): what a token stands for, to some ranges. Where both are in one pool it is a change of maps.
import { MAX_PARAMETER_LIST, ODX_PATIENCE } from '../core/base/limits.ts';
import { load16, load32 } from '../core/base/bytes-at.ts';
import { OK_ORDINARY, Reserved, all } from '../core/scsi/command-spec.ts';
import type { CommandSpec } from '../core/scsi/command-spec.ts';
import type { CopyOperation } from '../core/scsi/copy-operations.ts';
import { CopyWork } from '../core/scsi/copy-work.ts';
import type { LunNexus } from '../core/scsi/lun-nexus.ts';
import { SENSE, ScsiError, badParameter } from '../core/scsi/sense.ts';
import { GOOD } from '../core/scsi/task.ts';
import type { ScsiTask, TaskResult } from '../core/scsi/task.ts';
import { CopyError, copyRange } from '../core/volume/copy.ts';
import type { CopyCount } from '../core/volume/copy.ts';
import { copyPace } from '../core/volume/copy-pace.ts';
import { partsOf } from '../core/volume/rod.ts';
import type { Rod, RodEnd, RodRange, RodStore } from '../core/volume/rod.ts';
import { VolumeError, VolumeFault } from '../core/volume/volume.ts';
import type { OdxContext } from './context.ts';
import { carryOut } from './operation.ts';
import { listIdOf, listLengthOf, listOf, rangesOf, sizeOf } from './ranges.ts';
import { TOKEN, storeName } from './token.ts';

export const WRITE_USING_TOKEN = 0x11;
const HEADER = 536;
const TOKEN_AT = 16;
const IMMED = 0x01;
/** Bytes read and written at a time where blocks differ. */
const GATHER = 1_048_576;
/** DEL_TKN: nobody will use the token again. */
const DELETE = 0x02;

const GONE = {
  expired: SENSE.tokenExpired,
  deleted: SENSE.tokenDeleted,
  revoked: SENSE.tokenRevoked,
} as const satisfies Record<RodEnd, unknown>;

/** What is written: a part of a ROD, or zeros. */
interface Origin {
  readonly store: RodStore;
  readonly rod: Rod;
  /** Bytes of the ROD that are skipped. */
  readonly offset: number;
}

function writeUsingToken(task: ScsiTask, context: OdxContext): Promise<TaskResult> | TaskResult {
  const { lu, nexus, cdb } = task;
  const list = listOf(task, HEADER);
  if (list === undefined) return GOOD;
  const flags = list.readUInt8(2);
  const ranges = rangesOf(list, HEADER, lu);
  if (load16(list, 0) + 2 !== load16(list, HEADER - 2) + HEADER) throw badParameter(0);
  const origin = originOf(list, nexus, context);
  const background = (flags & IMMED) !== 0;
  const operation = lu.copies.begin(nexus, listIdOf(cdb), WRITE_USING_TOKEN, background);
  const release = origin?.store.use(origin.rod);
  const transfer = new Transfer(task, operation, background);
  const work = async (): Promise<undefined> => {
    await transfer.run(origin, ranges);
    if (origin !== undefined && (flags & DELETE) !== 0) origin.store.delete(origin.rod);
  };
  return carryOut(task, 'write-using-token', operation, work, release);
}

/** undefined: zeros. Throws ScsiError for a token that gives nothing to this nexus. */
function originOf(list: Buffer, nexus: LunNexus, context: OdxContext): Origin | undefined {
  const content = context.seal.open(list.subarray(TOKEN_AT, TOKEN_AT + TOKEN));
  if (content === 'zero') return undefined;
  const store = [...context.stores()].find(({ id }) => storeName(id) === content.store);
  // The pool it was made in is gone, and what it stood for with it.
  if (store === undefined) throw new ScsiError(SENSE.tokenRevoked);
  const rod = store.find(content.rod);
  // It was one of ours; what became of it long ago, or before the daemon started, is forgotten.
  if (rod === undefined) throw new ScsiError(SENSE.tokenExpired);
  if (typeof rod === 'string') throw new ScsiError(GONE[rod]);
  if (!mayUse(nexus, rod, context)) throw new ScsiError(SENSE.tokenNotReportable);
  // OFFSET INTO ROD counts blocks of the logical unit that is written to.
  const offset = (load32(list, 8) * 4_294_967_296 + load32(list, 12)) * nexus.lu.blockSize;
  if (!(offset < rod.size)) throw badParameter(8);
  return { store, rod, offset };
}

/**
 * A token is for whoever may read what it was made from: the hosts of a cluster hand tokens to each other. When that is gone,
 * only for its maker.
 */
export function mayUse(nexus: LunNexus, rod: Rod, context: OdxContext): boolean {
  const standing = context.standing(nexus, rod.source);
  return standing === 'may-read' || (standing === 'gone' && rod.initiator === nexus.initiator.name);
}

class Transfer {
  readonly #task: ScsiTask;
  readonly #operation: CopyOperation;
  readonly #work: CopyWork;
  /** When a transfer that somebody waits for ends with what it has. */
  readonly #until: number;
  #done = 0;

  constructor(task: ScsiTask, operation: CopyOperation, background: boolean) {
    this.#task = task;
    this.#operation = operation;
    this.#work = new CopyWork(task.nexus, 'write-using-token');
    this.#until = background ? Number.POSITIVE_INFINITY : task.lu.clock.now() + ODX_PATIENCE;
  }

  /**
   * Rejects with 0A/0D/04 and the number of blocks when there was time for a part only; with 05/0D/04 when the token ended
   * before the ranges did. What it stands for has been written then; the rest of its last block is zeros (SBC-3 5.46.2).
   */
  async run(origin: Origin | undefined, ranges: readonly RodRange[]): Promise<void> {
    const { blockSize } = this.#task.lu;
    const wanted = sizeOf(ranges);
    const there = origin === undefined ? wanted : Math.ceil((origin.rod.size - origin.offset) / blockSize) * blockSize;
    for (const range of ranges) {
      const length = Math.min(range.length, there - this.#done);
      const end = this.#done + length;
      if (length <= 0) break;
      if (origin === undefined) await this.#clear({ ...range, length });
      else if (origin.rod.blockSize < blockSize) await this.#gather(origin, { ...range, length });
      else await this.#share(origin, { ...range, length });
      if (this.#done < end) break;
    }
    if (this.#done >= Math.min(wanted, there)) {
      this.#work.done();
      if (there >= wanted) return;
      throw new ScsiError(SENSE.beyondToken, { information: this.#operation.transferred });
    }
    if (this.#task.lu.retired) throw new VolumeError(VolumeFault.notReady, 'the volume is being closed');
    if (this.#given) throw new ScsiError(SENSE.copyAborted);
    this.#work.done();
    throw new ScsiError(SENSE.copyUnderrun, { information: this.#operation.transferred });
  }

  /** It is to end whatever has been done. */
  get #given(): boolean {
    const { aborted, lu } = this.#task;
    return this.#operation.aborted || lu.retired || (aborted && this.#until !== Number.POSITIVE_INFINITY);
  }

  readonly #stops = (): boolean => this.#given || (this.#done > 0 && this.#task.lu.clock.now() > this.#until);

  #count({ shared, copied }: CopyCount): void {
    this.#work.add(this.#task.lu, { shared, copied });
    this.#done += shared + copied;
    this.#operation.counter++;
    this.#operation.transferred = Math.floor(this.#done / this.#task.lu.blockSize);
  }

  /** By the copy engine: as a change of maps where it can be. */
  async #share({ rod, offset }: Origin, range: RodRange): Promise<void> {
    const { lu } = this.#task;
    let to = range.position;
    for (const part of partsOf(rod, offset + this.#done, range.length)) {
      const before = this.#done;
      await copyRange({
        ...{ source: rod.volume, from: part.position, target: lu.volume, to, length: part.length },
        ...{ sourceLocks: undefined, targetLocks: lu.locks, clock: lu.clock, isAborted: this.#stops },
        progress: (step) => {
          this.#count(step);
        },
      }).catch((error: unknown) => {
        throw error instanceof CopyError && error.side === 'source' ? sourceError() : error;
      });
      if (this.#done - before < part.length) return;
      to += part.length;
    }
  }

  /** Blocks that are larger than those of the token may need several of its ranges, and zeros behind its end. */
  async #gather({ rod, offset }: Origin, { position, length }: RodRange): Promise<void> {
    const { volume, locks } = this.#task.lu;
    const buffer = Buffer.alloc(Math.min(length, GATHER));
    for (let done = 0; done < length && !this.#stops();) {
      const size = Math.min(buffer.length, length - done);
      const from = offset + this.#done;
      let at = 0;
      for (const part of partsOf(rod, from, Math.min(size, rod.size - from))) {
        await rod.volume.read(part.position, part.length, buffer, at).catch(() => {
          throw sourceError();
        });
        at += part.length;
      }
      buffer.fill(0, at, size);
      const lock = await locks.acquire(position + done, size, true);
      try {
        await volume.write(position + done, buffer, 0, size, false);
      } finally {
        lock.release();
      }
      done += size;
      this.#count({ shared: 0, copied: size });
    }
  }

  async #clear({ position, length }: RodRange): Promise<void> {
    const { volume, locks, clock } = this.#task.lu;
    for (let done = 0; done < length && !this.#stops();) {
      const size = Math.min(copyPace.step(clock, 'share'), length - done);
      copyPace.begin(clock, 'share', size);
      const lock = await locks.acquire(position + done, size, true);
      try {
        if (volume.info.thin) await volume.unmap(position + done, size);
        else await volume.zero(position + done, size);
      } finally {
        lock.release();
      }
      done += size;
      const inMap = volume.info.thin || volume.info.quickZero === true;
      this.#count(inMap ? { shared: size, copied: 0 } : { shared: 0, copied: size });
      await copyPace.turn(clock);
    }
  }
}

/** Where it lies in the pool means nothing to an initiator. */
const sourceError = (): ScsiError => new ScsiError(SENSE.unrecoveredReadError);

export const writeUsingTokenSpec = (context: OdxContext): CommandSpec => ({
  name: 'WRITE USING TOKEN',
  opcode: 0x83,
  serviceAction: WRITE_USING_TOKEN,
  cdbUsage: [0x83, WRITE_USING_TOKEN, 0, 0, 0, 0, ...all(4), ...all(4), 0x1f, 0],
  access: 'write',
  reserved: Reserved.conflict,
  okWhen: OK_ORDINARY,
  order: 'free',
  dataOut: (cdb) => Math.min(listLengthOf(cdb), MAX_PARAMETER_LIST),
  clause: 'SBC-3 5.46',
  run: (task) => writeUsingToken(task, context),
});
