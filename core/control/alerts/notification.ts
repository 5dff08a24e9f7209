import type { EventObject, Severity } from '../events.ts';

/** What is sent to a target: one sentence, and what a program needs. Never a secret. */
export interface Notification {
  /** Unique; the same for every attempt and every target. */
  readonly id: string;
  readonly state: 'raised' | 'cleared' | 'happened' | 'test';
  /** The rule, or the code of the event. */
  readonly code: string;
  readonly severity: Severity;
  readonly object: EventObject | undefined;
  readonly text: string;
  /** Milliseconds since 1970. */
  readonly time: number;
  /** Id of the node. */
  readonly node: string;
  readonly version: string;
}

/** `[gemel 6700e76b] warning: pool tank is 81 % full`, on one line whatever is in the text. */
export function headline({ state, severity, text, node }: Notification): string {
  const what = { raised: severity, happened: severity, cleared: 'over', test: 'test' }[state];
  return oneLine(`[gemel ${node}] ${what}: ${text}`).slice(0, 200);
}

/** Without control characters, which would begin a line of their own where the text goes. */
export function oneLine(text: string): string {
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, ' ');
}

/** Sends one notification. Rejects with what went wrong; `final`: trying again is of no use. */
export type Sender = (notification: Notification) => Promise<void>;

export class DeliveryError extends Error {
  readonly final: boolean;

  constructor(message: string, final: boolean) {
    super(message);
    this.final = final;
  }
}
