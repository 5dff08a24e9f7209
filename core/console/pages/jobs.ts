import { html, nothing } from 'lit';
import { call } from '../api/client.ts';
import type { Item } from '../api/client.ts';
import { changed, data } from '../api/data.ts';
import { duration, when } from '../parts/format.ts';
import { table } from '../parts/table.ts';
import { toast, toastProblem } from '../parts/toast.ts';
import { View, button, capital, empty, note, pageHead, sentence, shown, state } from '../parts/view.ts';
import { linkTo } from '../router.ts';
import { forRole } from '../session.ts';
import { progress } from './pools.ts';

type Job = Item<'GET /jobs'>;

const STATES: Readonly<Record<Job['state'], 'success' | 'info' | 'warning' | 'danger' | 'neutral'>> = {
  running: 'info',
  undoing: 'warning',
  done: 'success',
  failed: 'danger',
  cancelled: 'neutral',
};

/** Of the steps; others are neither good nor bad. */
const STEP_STATES: Readonly<Record<string, 'success' | 'info' | 'warning' | 'danger'>> = {
  running: 'info',
  done: 'success',
  undone: 'warning',
  failed: 'danger',
  'not-undone': 'danger',
};

class Jobs extends View {
  static override properties = { name: {} };
  /** The id of one job. */
  declare name: string | undefined;

  constructor() {
    super();
    this.watch(data.jobs);
  }

  override render(): unknown {
    return this.name === undefined ? list() : one(this.name);
  }
}

const isOver = ({ ended }: Job): boolean => ended !== null;

function list(): unknown {
  return html`${pageHead('Jobs', 'What takes its time: each step is remembered, and taken back if it fails.')}
  ${shown(data.jobs, (jobs) => {
    if (jobs.length === 0) {
      return empty('tasks', 'No jobs yet', 'Deleting, scrubbing and other long work appears here, with its progress.');
    }
    const running = jobs.filter((job) => !isOver(job));
    return html`${
      running.length === 0
        ? nothing
        : html`<section class="card wide" aria-labelledby="jobs-now">
            <h2 id="jobs-now">Now</h2>
            ${running.map(live)}
          </section>`
    }
    ${table(
      'Jobs',
      jobs,
      [
        { label: 'What', cell: ({ id, title }) => html`<a href=${linkTo('jobs', id)}>${capital(title)}</a>` },
        { label: 'State', sort: (job) => job.state, cell: (job) => state(STATES[job.state], job.state) },
        { label: 'Begun', sort: ({ created }) => created, cell: ({ created }) => when(created) },
        { label: 'Took', numeric: true, cell: took },
        {
          label: 'Result',
          cell: ({ error, notUndone }) =>
            html`${error === null ? '' : sentence(error.message)}${notUndone.length > 0 ? state('danger', 'not all taken back') : nothing}`,
        },
      ],
      ({ title, kind }) => `${title} ${kind}`,
    )}`;
  })}`;
}

function took({ created, ended }: Job): string {
  return ended === null ? '–' : duration((Date.parse(ended) - Date.parse(created)) / 1000);
}

function live(job: Job): unknown {
  const eta = job.etaSeconds === null ? '' : `, ${duration(job.etaSeconds)} left`;
  return html`<div class="job">
    ${progress(`${capital(job.title)}${job.doing === null ? '' : `: ${job.doing}`}${eta}`, job.progress)}
    ${
      job.cancellable
        ? forRole(
            'operator',
            button(job.cancelling ? 'Cancelling …' : 'Cancel', () => void cancel(job), { disabled: job.cancelling }),
          )
        : nothing
    }
  </div>`;
}

function one(id: string): unknown {
  return shown(data.jobs, (jobs) => {
    const job = jobs.find((each) => each.id === id);
    const back = html`<a href=${linkTo('jobs')}>All jobs</a>`;
    if (job === undefined)
      return html`${pageHead('Job', back)} ${empty('tasks', 'There is no such job', 'Old ones are forgotten.')}`;
    return html`${pageHead(capital(job.title), back)}
      ${isOver(job) ? nothing : html`<section class="card wide">${live(job)}</section>`}
      ${job.error === null ? nothing : note('danger', sentence(job.error.message))}
      ${job.notUndone.map(({ step, error }) => note('danger', html`Could not be taken back, somebody has to look: <b>${step}</b>, ${error}`))}
      <section class="card wide" aria-labelledby="job-steps">
        <h2 id="job-steps">Steps</h2>
        ${table('Steps', job.steps, [
          { label: 'Step', cell: ({ name }) => name },
          { label: 'State', cell: (step) => state(STEP_STATES[step.state] ?? 'neutral', step.state) },
          { label: 'Why', cell: ({ error }) => error ?? '' },
        ])}
        <p class="muted">
          ${state(STATES[job.state], job.state)}, begun
          ${when(job.created)}${job.ended === null ? '' : `, took ${took(job)}`}.
          ${job.reported === null ? nothing : html`Done on host ${job.reported.host}, told by ${job.reported.by}, last ${when(job.reported.heard)}.`}
        </p>
      </section>`;
  });
}

async function cancel({ id, title }: Job): Promise<void> {
  try {
    await call('POST /jobs/{id}/cancel', { params: { id } });
    toast('info', `${capital(title)} is being cancelled, and what it did taken back`);
  } catch (error) {
    toastProblem(`${capital(title)} goes on`, error);
  }
  changed('jobs');
}

customElements.define('gemel-jobs', Jobs);
