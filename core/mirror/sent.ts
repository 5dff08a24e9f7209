// An operation that was sent to another replica, until it is answered. One object is all that is made for it: nothing is made as
// often as these.
import { messageOf } from '../base/errors.ts';
import type { ReplyListener } from './link/peer-link.ts';
import type { Member, Pending } from './member.ts';
import { Operation } from './messages.ts';
import type { Order, Term } from './term.ts';

export class Sent implements Pending, ReplyListener {
  readonly position: number;
  readonly length: number;
  readonly done: () => void;
  readonly #term: Term;
  readonly #member: Member;
  readonly #isWrite: boolean;
  readonly #sentAt: number;

  /** `done`: called once, when the replica has it or does not count any more. */
  constructor(term: Term, member: Member, order: Order, done: () => void) {
    this.position = order.position;
    this.length = order.length;
    this.done = done;
    this.#term = term;
    this.#member = member;
    this.#isWrite = order.operation === Operation.write;
    this.#sentAt = term.options.clock.now();
  }

  answered(): void {
    const member = this.#member;
    if (!member.pending.delete(this)) return;
    if (this.#isWrite) this.#term.judge(member, this.#term.options.clock.now() - this.#sentAt);
    this.done();
  }

  failed(error: Error): void {
    // Not while somebody goes through the members: a write that is being sent to all of them.
    void Promise.resolve().then(() => {
      if (this.#member.pending.has(this)) void this.#term.eject(this.#member, messageOf(error));
    });
  }
}
