// Copies that the hosts of the daemon that is killed leave to it: EXTENDED COPY, and tokens, which outlive the kill. All go to
// the LBAs they come from, so that a sector shows where it was copied from.
import assert from 'node:assert/strict';
import { inCdb, newListId, outCdb, populateList, writeList } from '../support/windows-copy.ts';
import type { Content, Copied } from './daemon-model.ts';
import { wasExecuted } from './daemon-load.ts';
import type { Host, LoadFacts, Range } from './daemon-load.ts';
import type { Answer } from './daemon-pipe.ts';
import { SECTOR } from './record.ts';

const GRAIN_SECTORS = 128;
/** Grains of a copy, at most, and of all that can be copied. */
const MOST_GRAINS = 24;
const MAX_KEPT = 12;
/** Seconds a token lives unused. */
const TIMEOUT = 600;
/** What may become of a copy, besides GOOD: part of it in the time there was; no room for a token. */
const UNDERRUN = '0a/0d/04';
const NO_ROOM = ['0b/55/0c', '0b/55/0d'];
/** It was revoked for want of room; or so long ago, or before a crash, that the daemon does not remember. */
const REVOKED = ['05/23/06', '05/23/07'];
const DISK_FULL = '07/27/07';
/** The other disk of a copy was reset or closed (a rollback, a deletion): its task there has ended. */
const ABORTED = '0a/2f/02';

interface Token {
  readonly bytes: Buffer;
  readonly range: Range;
  readonly content: Content;
  /** The daemon has been started anew since it was made. */
  again: boolean;
}

/** The tokens of a run, and what became of copies. */
export class Tokens {
  readonly kept: Token[] = [];
  readonly done = new Map<string, number>();

  count(what: string): void {
    this.done.set(what, (this.done.get(what) ?? 0) + 1);
  }

  /** The daemon has been started anew. */
  again(): void {
    for (const token of this.kept) token.again = true;
  }
}

type Send = (cdb: Buffer, options: { read?: number; write?: Buffer }, sent?: () => void) => Promise<Answer>;

export class Offload {
  /** Who copies from this disk, or to it, names it so: the designator (NAA) of VPD page 83h. */
  designator: Buffer | undefined;
  readonly #host: Host;
  readonly #facts: LoadFacts;
  readonly #send: Send;

  constructor(host: Host, facts: LoadFacts, send: Send) {
    this.#host = host;
    this.#facts = facts;
    this.#send = send;
  }

  /** Asks the disk who it is. */
  async prepare(): Promise<void> {
    for (let tries = 0; this.designator === undefined; tries++) {
      const { status, data } = await this.#send(Buffer.from([0x12, 1, 0x83, 2, 0, 0]), { read: 512 });
      assert.ok(status === 0 || tries < 10, `INQUIRY: status ${status.toString(16)}`);
      for (let at = 4; status === 0 && at + 4 <= data.length && data.readUInt16BE(2) + 4 > at;) {
        const end = at + 4 + data.readUInt8(at + 3);
        if ((data.readUInt8(at + 1) & 0x3f) === 0x03) this.designator = Buffer.from(data.subarray(at, end));
        at = end;
      }
    }
  }

  /** One copy, or one step with tokens. */
  async step(): Promise<void> {
    const { random, tokens } = this.#facts;
    const dice = random();
    if (dice < 0.5) await this.#copy();
    else if (dice < 0.75 && this.#facts.sources().includes(this.#host)) await this.#populate();
    else {
      const token = tokens.kept[Math.floor(random() * tokens.kept.length)];
      if (token !== undefined) await this.#writeUsing(token);
    }
  }

  #below(limit: number): number {
    return Math.floor(this.#facts.random() * limit);
  }

  /** Mostly whole grains, which can be shared. */
  #range(sectors: number): Range {
    const first = this.#below(Math.max(1, Math.min(sectors, this.#facts.random() < 0.7 ? 8192 : sectors)));
    const count = 1 + this.#below(MOST_GRAINS * GRAIN_SECTORS);
    if (this.#facts.random() < 0.2) return { first, count: Math.min(count, sectors - first) };
    const start = first - (first % GRAIN_SECTORS);
    const rest = sectors - start;
    const whole = Math.max(GRAIN_SECTORS, count - (count % GRAIN_SECTORS));
    return { first: start, count: Math.min(whole, rest) };
  }

  /** EXTENDED COPY (LID1) of one segment to this disk. */
  async #copy(): Promise<void> {
    const { model } = this.#host;
    const sources = this.#facts.sources().filter((each) => each !== this.#host);
    const source = sources[this.#below(sources.length)];
    const [from, to] = [source?.offload.designator, this.designator];
    if (source === undefined || from === undefined || to === undefined) return;
    const range = this.#range(Math.min(model.sectors, source.model.sectors));
    const list = copyList(from, to, range);
    const cdb = Buffer.alloc(16);
    cdb[0] = 0x83;
    cdb.writeUInt32BE(list.length, 10);
    // From here on, not from when it is sent: a rollback of the source waits for it.
    const begun = source.model.copyTo(model, range);
    try {
      const answer = await this.#send(cdb, { write: list });
      this.#end(begun.copied, answer, `EXTENDED COPY from ${source.model.name}`, 'copy');
    } finally {
      begun.over();
    }
  }

  async #populate(): Promise<void> {
    const { tokens, counts } = this.#facts;
    const { model } = this.#host;
    const range = this.#range(model.sectors);
    const listId = newListId();
    const list = populateList([[range.first, range.count]], TIMEOUT);
    const look = model.look();
    try {
      const answer = await this.#send(outCdb(0x10, listId, list.length), { write: list });
      if (answer.status !== 0) {
        const fine = !wasExecuted(answer) || NO_ROOM.includes(code(answer)) || this.#mayFail(answer);
        if (!fine) throw new Error(`${model.name}: POPULATE TOKEN: sense ${answer.senseCode}`);
        tokens.count(`populate ${code(answer)}`);
        return;
      }
      const content = model.capture(look.since, range);
      counts.good++;
      const { status, data } = await this.#send(inCdb(0x07, listId, 1024), { read: 1024 });
      if (status !== 0) return;
      const at = 32 + data.readUInt8(13);
      assert.equal(data.readUInt32BE(at), 514, 'a token');
      tokens.count('populate');
      if (tokens.kept.length >= MAX_KEPT) tokens.kept.splice(this.#below(MAX_KEPT), 1);
      tokens.kept.push({ bytes: Buffer.from(data.subarray(at + 6, at + 518)), range, content, again: false });
    } finally {
      look.end();
    }
  }

  async #writeUsing(token: Token): Promise<void> {
    const { model } = this.#host;
    const { first, count } = token.range;
    // Some of it: the same grains of a token in several places, at several times.
    const skipped = this.#facts.random() < 0.5 ? 0 : this.#below(Math.ceil(count / GRAIN_SECTORS)) * GRAIN_SECTORS;
    const range = { first: first + skipped, count: Math.min(count - skipped, model.sectors - first - skipped) };
    if (range.count <= 0) return;
    const list = writeList(token.bytes, skipped, [[range.first, range.count]]);
    let copied: Copied | undefined;
    const answer = await this.#send(outCdb(0x11, newListId(), list.length), { write: list }, () => {
      copied = model.copyFrom(token.content, range);
    });
    assert.ok(copied !== undefined);
    if (REVOKED.includes(code(answer))) {
      const { kept } = this.#facts.tokens;
      if (kept.includes(token)) kept.splice(kept.indexOf(token), 1);
    }
    this.#end(copied, answer, 'WRITE USING TOKEN', token.again ? 'token from before' : 'token');
  }

  #end(copied: Copied, answer: Answer, what: string, kind: string): void {
    const { tokens, counts } = this.#facts;
    const good = answer.status === 0;
    copied.end(good);
    if (good) counts.good++;
    tokens.count(good ? kind : `${kind} ${code(answer)}`);
    const fine = good || !wasExecuted(answer) || [UNDERRUN, ABORTED, ...REVOKED].includes(code(answer));
    if (fine || this.#mayFail(answer)) return;
    throw new Error(
      `${this.#host.model.name}: ${what}: status ${answer.status.toString(16)}, sense ${answer.senseCode}`,
    );
  }

  #mayFail(answer: Answer): boolean {
    return this.#facts.mayBeFull && (code(answer) === DISK_FULL || code(answer).startsWith('0a/'));
  }
}

const code = ({ senseCode, status }: Answer): string =>
  senseCode === '' ? `status ${status.toString(16)}` : senseCode.toLowerCase();

/** SPC-4 6.5 with one block-to-block segment; nobody asks about it later (LIST ID USAGE 11b). */
function copyList(source: Buffer, target: Buffer, { first, count }: Range): Buffer {
  const list = Buffer.alloc(16 + 64 + 28);
  list[1] = 0x18;
  list.writeUInt16BE(64, 2);
  list.writeUInt32BE(28, 8);
  [source, target].forEach((designator, i) => {
    const at = 16 + i * 32;
    list[at] = 0xe4;
    designator.copy(list, at + 4);
    list.writeUIntBE(SECTOR, at + 29, 3);
  });
  const at = 80;
  Buffer.from([0x02, 0, 0, 0x18, 0, 0, 0, 1]).copy(list, at);
  list.writeUInt16BE(count, at + 10);
  list.writeBigUInt64BE(BigInt(first), at + 12);
  list.writeBigUInt64BE(BigInt(first), at + 20);
  return list;
}
