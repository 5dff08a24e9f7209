import { MAX_UNIT_ATTENTIONS } from '../base/limits.ts';
import { THRESHOLD_DESCRIPTOR_AT } from './provisioning.ts';
import { SENSE, ScsiError } from './sense.ts';
import type { SenseRow } from './sense.ts';

/** The condition as a command ends with it. */
export function attentionError(row: SenseRow): ScsiError {
  return new ScsiError(row, row === SENSE.thinSoftThreshold ? { information: THRESHOLD_DESCRIPTOR_AT } : {});
}

/** Unit attentions waiting for one I_T_L nexus (SAM-5 5.14). Each condition is kept once, in order of arrival. */
export class UnitAttentions {
  #pending: SenseRow[] = [];

  get any(): boolean {
    return this.#pending.length > 0;
  }

  /** All of them, oldest first. */
  get pending(): readonly SenseRow[] {
    return [...this.#pending];
  }

  /** Notes a condition. A reset supersedes everything older (SAM-5 5.14.3: 29h has precedence). */
  add(row: SenseRow): void {
    if (row.asc === 0x29) this.#pending = [];
    else if (this.#pending.includes(row) || this.#pending.length >= MAX_UNIT_ATTENTIONS) return;
    this.#pending.push(row);
  }

  /** Removes and returns the oldest condition. */
  take(): SenseRow | undefined {
    return this.#pending.shift();
  }

  /** The oldest condition without removing it. */
  peek(): SenseRow | undefined {
    return this.#pending[0];
  }

  /** REPORT LUNS clears the inventory change (SPC-4 6.33). */
  clearInventoryChange(): void {
    this.#pending = this.#pending.filter((row) => row !== SENSE.reportedLunsChanged);
  }

  clear(): void {
    this.#pending = [];
  }
}
