// The rules of a snapshot schedule: in words, and as rows that can be changed. All times are UTC, as the daemon counts them.
import { html, nothing } from 'lit';
import type { Schedule } from '../api/data.ts';
import { View, button } from './view.ts';

export type Rule = Schedule['rules'][number];

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
/** As the daemon has them. */
const MOST_RULES = 8;
const MOST_KEPT = 512;
const KINDS: readonly { value: Rule['every']; label: string }[] = [
  { value: 'hour', label: 'Every hour' },
  { value: 'day', label: 'Every day' },
  { value: 'week', label: 'Every week' },
  { value: 'minutes', label: 'Every few minutes' },
];
const FIRST: Readonly<Record<Rule['every'], Rule>> = {
  minutes: { every: 'minutes', minutes: 15, keep: 8 },
  hour: { every: 'hour', minute: 0, keep: 24 },
  day: { every: 'day', time: '02:00', keep: 7 },
  week: { every: 'week', day: 0, time: '03:00', keep: 4 },
};
/** What a new schedule begins with. */
export const USUAL: readonly Rule[] = [FIRST.hour, FIRST.day];

/** `every day at 02:00 UTC` */
export function ruleText(rule: Rule): string {
  switch (rule.every) {
    case 'minutes':
      return rule.minutes === 1 ? 'every minute' : `every ${rule.minutes} minutes`;
    case 'hour':
      return rule.minute === 0
        ? 'every hour'
        : `every hour, ${rule.minute} ${rule.minute === 1 ? 'minute' : 'minutes'} past`;
    case 'day':
      return `every day at ${rule.time} UTC`;
    case 'week':
      return `every ${DAYS[rule.day] ?? '?'} at ${rule.time} UTC`;
  }
}

/** What is wrong with the rules; undefined: nothing. */
export function checkRules(rules: readonly Rule[]): string | undefined {
  if (rules.length === 0) return 'Add at least one rule.';
  const within = (value: number, from: number, to: number): boolean =>
    Number.isInteger(value) && value >= from && value <= to;
  for (const rule of rules) {
    if (!within(rule.keep, 1, MOST_KEPT)) return `A rule keeps 1 to ${MOST_KEPT} snapshots.`;
    if (rule.every === 'minutes' && !within(rule.minutes, 1, 1440)) return 'Minutes are a number from 1 to 1440.';
    if (rule.every === 'hour' && !within(rule.minute, 0, 59)) return 'The minute is a number from 0 to 59.';
    if ('time' in rule && !/^(?:[01]\d|2[0-3]):[0-5]\d$/.test(rule.time)) return 'Write a time like 02:30.';
  }
  return undefined;
}

/** A time of day in UTC as the clock on the wall has it now. */
function localTime(time: string): string {
  const [hours = 0, minutes = 0] = time.split(':').map(Number);
  const at = new Date();
  at.setUTCHours(hours, minutes, 0, 0);
  return new Intl.DateTimeFormat(undefined, { timeStyle: 'short', hourCycle: 'h23' }).format(at);
}

export class Rules extends View {
  static override properties = {
    rules: { attribute: false },
    wrong: { attribute: false },
    change: { attribute: false },
  };

  declare rules: readonly Rule[];
  /** Undefined: nothing is. */
  declare wrong: string | undefined;
  declare change: (rules: readonly Rule[]) => void;

  constructor() {
    super();
    this.rules = [];
  }

  override render(): unknown {
    return html`<fieldset class="rules" aria-describedby="rules-help">
      <legend>When, and how many stay</legend>
      ${this.rules.map((rule, i) => this.#row(rule, i))}
      ${
        this.rules.length < MOST_RULES
          ? button(
              'Add a rule',
              () => {
                this.#set([...this.rules, FIRST.week]);
              },
              { icon: 'plus' },
            )
          : nothing
      }
      <p id="rules-help" class=${this.wrong === undefined ? 'help' : 'help wrong'}>
        ${
          this.wrong ??
          'Times are UTC. Each rule deletes the oldest of its own snapshots when it has more than it keeps; snapshots people took stay.'
        }
      </p>
    </fieldset>`;
  }

  #row(rule: Rule, i: number): unknown {
    const put = (changed: Rule): void => {
      this.#set(this.rules.map((each, at) => (at === i ? changed : each)));
    };
    return html`<div class="rule" role="group" aria-label=${`Rule ${i + 1}`}>
      <select
        name=${`rule-${i}`}
        aria-label="How often"
        @change=${(event: Event) => {
          const kind = (event.currentTarget as HTMLSelectElement).value as Rule['every'];
          put({ ...FIRST[kind], keep: rule.keep });
        }}
      >
        ${KINDS.map(({ value, label }) => html`<option value=${value} ?selected=${value === rule.every}>${label}</option>`)}
      </select>
      ${this.#details(rule, put)}
      <label
        >keep
        <input
          type="number"
          min="1"
          max=${MOST_KEPT}
          .value=${String(rule.keep)}
          @input=${(event: Event) => {
            put({ ...rule, keep: (event.currentTarget as HTMLInputElement).valueAsNumber });
          }}
      /></label>
      <button
        type="button"
        class="plain"
        aria-label=${`Remove rule ${i + 1}`}
        title="Remove"
        @click=${() => {
          this.#set(this.rules.filter((_, at) => at !== i));
        }}
      >
        <cds-icon shape="times"></cds-icon>
      </button>
    </div>`;
  }

  #details(rule: Rule, put: (rule: Rule) => void): unknown {
    const number = (label: string, value: number, most: number, set: (value: number) => Rule): unknown =>
      html`<label
        >${label}
        <input
          type="number"
          min="0"
          max=${most}
          .value=${String(value)}
          @input=${(event: Event) => {
            put(set((event.currentTarget as HTMLInputElement).valueAsNumber));
          }}
      /></label>`;
    if (rule.every === 'minutes') return number('minutes', rule.minutes, 1440, (minutes) => ({ ...rule, minutes }));
    if (rule.every === 'hour') return number('minute', rule.minute, 59, (minute) => ({ ...rule, minute }));
    return html`${
        rule.every === 'week'
          ? html`<select
              aria-label="Day"
              @change=${(event: Event) => {
                put({ ...rule, day: Number((event.currentTarget as HTMLSelectElement).value) });
              }}
            >
              ${DAYS.map((day, i) => html`<option value=${i} ?selected=${i === rule.day}>${day}</option>`)}
            </select>`
          : nothing
      }<label
        >at
        <input
          type="text"
          class="time"
          inputmode="numeric"
          autocomplete="off"
          aria-label="Time, UTC"
          .value=${rule.time}
          @input=${(event: Event) => {
            put({ ...rule, time: (event.currentTarget as HTMLInputElement).value.trim() });
          }}
      /></label>
      <span class="muted" title="On the clock of this browser"
        >${checkRules([rule]) === undefined ? `(${localTime(rule.time)} here)` : ''}</span
      >`;
  }

  #set(rules: readonly Rule[]): void {
    this.rules = rules;
    this.change(rules);
  }
}

customElements.define('gemel-rules', Rules);
