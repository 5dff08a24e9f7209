// Snapshots by the clock: which volumes, when, how many stay, and how the last run went.
import { html, nothing } from 'lit';
import { call } from '../api/client.ts';
import { changed, data } from '../api/data.ts';
import type { Schedule } from '../api/data.ts';
import { duration, plural, when } from '../parts/format.ts';
import { openForm } from '../parts/form.ts';
import type { Values } from '../parts/form.ts';
import { USUAL, checkRules, ruleText } from '../parts/rules.ts';
import type { Rule } from '../parts/rules.ts';
import { table } from '../parts/table.ts';
import type { Column } from '../parts/table.ts';
import { toast, toastProblem } from '../parts/toast.ts';
import { View, button, empty, pageHead, sentence, shown, state } from '../parts/view.ts';
import { linkTo } from '../router.ts';
import { forRole } from '../session.ts';
import { checkName } from './access-fields.ts';

/** The names of snapshots begin with it, so it is shorter than other names. */
const MOST_NAME = 36;

const act = (...args: Parameters<typeof button>): unknown => forRole('operator', button(...args));

class Schedules extends View {
  constructor() {
    super();
    this.watch(data.schedules, data.volumes);
  }

  override render(): unknown {
    const create = act(
      'Create a schedule',
      () => {
        editSchedule();
      },
      { kind: 'solid', icon: 'plus' },
    );
    return html`${pageHead('Schedules', 'Snapshots that are taken, and deleted again, by the clock.', create)}
    ${shown(data.schedules, (schedules) =>
      schedules.length === 0
        ? empty(
            'calendar',
            'No schedules yet',
            'Create one: it takes volumes of a pool, the times of its snapshots, and how many of them stay.',
            create,
          )
        : table('Schedules', schedules, columns, ({ name, volumes }) => [name, ...volumes].join(' ')),
    )}`;
  }
}

const columns: Column<Schedule>[] = [
  {
    label: 'Name',
    sort: ({ name }) => name,
    cell: ({ name, rules }) =>
      html`<b>${name}</b>${rules.map((rule) => html`<div class="muted">${ruleText(rule)}, ${rule.keep} stay</div>`)}`,
  },
  {
    label: 'Volumes',
    cell: ({ volumes }) =>
      volumes.length > 3
        ? html`<span title=${volumes.join(', ')}>${plural(volumes.length, 'volume')}</span>`
        : volumes.map((name) => html`<div><a href=${linkTo('volumes', name)}>${name}</a></div>`),
  },
  {
    label: 'Next run',
    sort: ({ next }) => next ?? '~',
    cell: ({ next }) =>
      next === null
        ? state('neutral', 'paused')
        : html`<span class="nowrap">${when(next)}</span>
            <div class="muted">in ${duration((Date.parse(next) - Date.now()) / 1000)}</div>`,
  },
  {
    label: 'Last run',
    sort: ({ last }) => last ?? '',
    cell: ({ last, problem }) =>
      last === null
        ? html`<span class="muted">not yet</span>`
        : problem === null
          ? state('success', when(last))
          : html`${state('danger', `failed ${when(last)}`)}
              <div>${sentence(problem)}</div>`,
  },
  { label: 'Kept', numeric: true, sort: ({ snapshots }) => snapshots, cell: ({ snapshots }) => snapshots },
  {
    label: 'Actions',
    cell: (schedule) =>
      html`<span class="actions"
        >${act(
          'Run now',
          () => {
            runNow(schedule);
          },
          { kind: 'flat' },
        )}
        ${act(schedule.enabled ? 'Pause' : 'Resume', () => void setEnabled(schedule), { kind: 'flat' })}
        ${act(
          'Change',
          () => {
            editSchedule(schedule);
          },
          { kind: 'flat' },
        )}
        ${act(
          'Delete',
          () => {
            remove(schedule);
          },
          { kind: 'flat', danger: true },
        )}</span
      >`,
  },
];

/** What belongs to a volume: on its page, below its snapshots. */
export function schedulesOf(volume: string): unknown {
  const own = (data.schedules.value ?? []).filter(({ volumes }) => volumes.includes(volume));
  if (own.length === 0)
    return html`<p class="muted">No <a href=${linkTo('schedules')}>schedule</a> takes snapshots of it.</p>`;
  return html`<p class="muted">
    ${own.map(
      ({ name, next, problem }, i) =>
        html`${i > 0 ? ' ' : nothing}Schedule <a href=${linkTo('schedules')}>${name}</a>:
          ${next === null ? 'paused' : `next ${when(next)}`}${problem === null ? '.' : html`, ${state('danger', 'the last run failed')}.`}`,
    )}
  </p>`;
}

const rulesIn = (values: Values): Rule[] => JSON.parse(values.text('rules')) as Rule[];

/** Makes a schedule, or changes it. `first`: volumes that are ticked in a new one. */
export function editSchedule(before?: Schedule, first: readonly string[] = []): void {
  const pooled = (data.volumes.value ?? []).filter(({ pool }) => pool !== null);
  const poolOf = new Map(pooled.map(({ name, pool }) => [name, pool]));
  openForm({
    title: before === undefined ? 'Create a schedule' : `Change schedule ${before.name}`,
    action: before === undefined ? 'Create' : 'Save',
    steps: [
      {
        title: 'Volumes',
        intro:
          pooled.length === 0
            ? 'Only volumes of a pool have snapshots, and there is none yet.'
            : 'All volumes of a schedule are caught at one instant, so they lie in one pool.',
        fields: [
          ...(before === undefined
            ? [
                {
                  name: 'name',
                  label: 'Name',
                  type: 'text' as const,
                  required: true,
                  help: 'The names of its snapshots begin with it.',
                  check: (text: string) =>
                    checkName(text) ??
                    (text.length > MOST_NAME
                      ? `Up to ${MOST_NAME} characters.`
                      : data.schedules.value?.some(({ name }) => name === text) === true
                        ? 'There is a schedule of this name.'
                        : undefined),
                },
              ]
            : []),
          {
            name: 'volumes',
            label: 'Volumes',
            type: 'several',
            required: true,
            value: (before?.volumes ?? first).join('\n'),
            choices: pooled.map(({ name, pool }) => ({ value: name, label: `${name}, pool ${pool ?? ''}` })),
            check: (_text, values) =>
              new Set(values.lines('volumes').map((name) => poolOf.get(name))).size > 1
                ? 'Volumes of different pools cannot be caught at one instant: make a schedule for each pool.'
                : undefined,
          },
        ],
      },
      {
        title: 'Times',
        fields: [
          {
            name: 'rules',
            label: 'Rules',
            type: 'custom',
            value: JSON.stringify(before?.rules ?? USUAL),
            check: (_text, values) => checkRules(rulesIn(values)),
            control: ({ values, wrong, set }) =>
              html`<gemel-rules
                .rules=${rulesIn(values)}
                .wrong=${wrong}
                .change=${(rules: readonly Rule[]) => {
                  set(JSON.stringify(rules));
                }}
              ></gemel-rules>`,
          },
          { name: 'enabled', label: 'It runs (not paused)', type: 'checkbox', value: before?.enabled ?? true },
        ],
        summary: (values) => {
          const rules = rulesIn(values);
          if (checkRules(rules) !== undefined) return nothing;
          const most = rules.reduce((sum, { keep }) => sum + keep, 0);
          return html`<p class="muted">Up to ${plural(most, 'snapshot')} of each volume are kept.</p>`;
        },
      },
    ],
    submit: async (values) => {
      const name = before?.name ?? values.text('name');
      await call('PUT /schedules/{name}', {
        params: { name },
        body: { volumes: values.lines('volumes'), rules: rulesIn(values), enabled: values.flag('enabled') },
      });
      changed('schedules');
      toast('success', before === undefined ? `Schedule ${name} is there` : `Schedule ${name} is changed`);
    },
  });
}

async function setEnabled({ name, volumes, rules, enabled }: Schedule): Promise<void> {
  try {
    await call('PUT /schedules/{name}', { params: { name }, body: { volumes, rules, enabled: !enabled } });
    toast('success', enabled ? `Schedule ${name} is paused` : `Schedule ${name} runs again`);
  } catch (error) {
    toastProblem(`Schedule ${name} stays as it is`, error);
  }
  changed('schedules');
}

function runNow({ name, volumes }: Schedule): void {
  const stamp = new Date().toISOString().slice(0, 19).replace('T', '-').replaceAll(':', '');
  openForm({
    title: `Run ${name} now?`,
    action: 'Take the snapshots',
    steps: [
      {
        title: 'Snapshots',
        intro: `A snapshot of ${volumes.length === 1 ? (volumes[0] ?? '') : `each of its ${volumes.length} volumes, all at one instant`}. It does not count as a run: the next one stays when it is, and what is taken now stays until somebody deletes it.`,
        fields: [
          {
            name: 'name',
            label: 'Name',
            type: 'text',
            required: true,
            value: `${name}-now-${stamp}`,
            check: checkName,
          },
        ],
      },
    ],
    submit: async (values) => {
      await call('POST /snapshots', { body: { volumes, name: values.text('name') } });
      changed('snapshots', 'volumes', 'pools', 'schedules');
      toast('success', `${plural(volumes.length, 'snapshot')} ${values.text('name')} taken`);
    },
  });
}

function remove({ name, snapshots }: Schedule): void {
  openForm({
    title: `Delete schedule ${name}?`,
    action: 'Delete',
    danger: true,
    steps: [
      {
        title: 'Delete',
        intro:
          snapshots === 0
            ? 'No snapshots are taken any more.'
            : `No snapshots are taken any more. The ${plural(snapshots, 'snapshot')} it has taken stay${snapshots === 1 ? 's' : ''}, until somebody deletes ${snapshots === 1 ? 'it' : 'them'}.`,
      },
    ],
    submit: async () => {
      await call('DELETE /schedules/{name}', { params: { name } });
      changed('schedules');
      toast('success', `Schedule ${name} is deleted`);
    },
  });
}

customElements.define('gemel-schedules', Schedules);
