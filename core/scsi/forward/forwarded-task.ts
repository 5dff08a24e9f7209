import type { CommandSpec } from '../command-spec.ts';
import type { DispatchTask, HeldRange } from '../dispatch.ts';
import type { LogicalUnit } from '../logical-unit.ts';
import type { LunNexus } from '../lun-nexus.ts';
import type { TaskImage } from './messages.ts';

/** A command of another node in the task set of its logical unit, like those that came by a target port of this node. */
export class ForwardedTask implements DispatchTask {
  readonly nexus: LunNexus;
  readonly lu: LogicalUnit;
  readonly spec: CommandSpec;
  readonly cdb: Buffer;
  readonly data: Buffer;
  readonly expectedDataOut: number;
  readonly expectedDataIn: number;
  readonly attribute: number;
  aborted = false;
  /** Whether the initiator is to be told, when it was aborted. */
  tell = false;
  held: HeldRange | undefined;
  /** Resolves when nothing of it runs any more. */
  readonly over: Promise<void>;
  finish: () => void = () => undefined;

  constructor(nexus: LunNexus, spec: CommandSpec, image: TaskImage, data: Buffer) {
    this.nexus = nexus;
    this.lu = nexus.lu;
    this.spec = spec;
    this.cdb = image.cdb;
    this.data = data;
    this.expectedDataOut = image.expectedDataOut;
    this.expectedDataIn = image.expectedDataIn;
    this.attribute = image.attribute;
    this.over = new Promise((resolve) => {
      this.finish = resolve;
    });
  }

  abort(tell: boolean): void {
    if (this.aborted) return;
    this.aborted = true;
    this.tell = tell;
    this.lu.counters.aborted++;
    // What runs may take effect as late as it ends: whoever wants these blocks has to wait until then.
    this.held?.makeExclusive();
  }
}
