import { html, nothing } from 'lit';
import { call } from '../api/client.ts';
import type { Ask, Item } from '../api/client.ts';
import { changed, data } from '../api/data.ts';
import { plural, when } from '../parts/format.ts';
import { openForm } from '../parts/form.ts';
import type { Field, Values } from '../parts/form.ts';
import { table } from '../parts/table.ts';
import { toast, toastProblem } from '../parts/toast.ts';
import { View, button, empty, note, pageHead, sentence, shown, state } from '../parts/view.ts';
import { linkTo } from '../router.ts';
import { forRole, session } from '../session.ts';
import { checkName } from './access-fields.ts';

type Alert = Item<'GET /alerts'>;
type Rule = Item<'GET /alert-rules'>;
type Target = Item<'GET /alert-targets'>;
type Severity = Alert['severity'];

const PAGE_OF: Readonly<Record<string, string>> = {
  volume: 'volumes',
  pool: 'pools',
  host: 'hosts',
  job: 'jobs',
  schedule: 'schedules',
};

export function severity(level: Severity): unknown {
  const kind = level === 'info' ? 'info' : level === 'warning' ? 'warning' : 'danger';
  return state(kind, level);
}

/** What it is about, as a link where there is a page for it. */
export function about(object: Alert['object']): unknown {
  const page = PAGE_OF[object.kind];
  const words = `${object.kind} ${object.name}`;
  return page === undefined ? words : html`<a href=${linkTo(page, object.name)}>${words}</a>`;
}

class Events extends View {
  constructor() {
    super();
    this.watch(data.alerts, data.alertRules, data.events);
    if (session.may('admin')) this.watch(data.alertTargets);
  }

  override render(): unknown {
    return html`${pageHead('Events and alerts', 'What is wrong now, what is watched, and who is told.')}
      <section class="card wide" aria-labelledby="alerts">
        <h2 id="alerts">Alerts</h2>
        ${shown(data.alerts, (alerts) =>
          alerts.length === 0
            ? html`<p class="verdict">
                <cds-icon shape="success-standard" size="lg" status="success"></cds-icon> Nothing is wrong now.
              </p>`
            : alerts.map((alert) =>
                note(
                  alert.severity === 'info' ? 'info' : alert.severity === 'warning' ? 'warning' : 'danger',
                  html`${about(alert.object)}: ${sentence(alert.text)}
                    <div class="muted">since ${when(alert.since)}</div>`,
                ),
              ),
        )}
      </section>
      ${eventsCard()} ${forRole('admin', targetsCard())}
      <section class="card wide" aria-labelledby="rules">
        <h2 id="rules">What is watched</h2>
        ${shown(data.alertRules, (rules) =>
          table('Rules', rules, [
            {
              label: 'Rule',
              sort: ({ rule }) => rule,
              cell: ({ rule, text }) =>
                html`${sentence(text)}
                  <div class="muted">${rule}</div>`,
            },
            { label: 'Severity', cell: (rule) => severity(rule.severity) },
            { label: 'Begins at', numeric: true, cell: ({ limit, unit }) => `${limit} ${unit}` },
            { label: 'State', cell: ({ enabled }) => (enabled ? state('success', 'on') : state('neutral', 'off')) },
            {
              label: 'Actions',
              cell: (rule) =>
                forRole(
                  'admin',
                  button(
                    'Change',
                    () => {
                      changeRule(rule);
                    },
                    { kind: 'flat' },
                  ),
                ),
            },
          ]),
        )}
      </section>`;
  }
}

function eventsCard(): unknown {
  return html`<section class="card wide" aria-labelledby="events">
    <h2 id="events">What happened</h2>
    ${shown(data.events, ({ items }) =>
      items.length === 0
        ? html`<p class="muted">Nothing worth telling yet.</p>`
        : table(
            'Events',
            items,
            [
              { label: 'When', cell: ({ last }) => when(last) },
              { label: 'Severity', cell: (event) => severity(event.severity) },
              { label: 'About', cell: ({ object }) => (object === null ? '' : about(object)) },
              { label: 'What', cell: ({ text, count }) => `${sentence(text)}${count > 1 ? ` (${count} times)` : ''}` },
            ],
            ({ text, code, object }) => `${text} ${code} ${object?.name ?? ''}`,
          ),
    )}
  </section>`;
}

function targetsCard(): unknown {
  const add = button(
    'Add a target',
    () => {
      addTarget();
    },
    { kind: 'solid', icon: 'plus' },
  );
  return html`<section class="card wide" aria-labelledby="targets">
    <h2 id="targets">Who is told</h2>
    ${shown(data.alertTargets, (targets) =>
      targets.length === 0
        ? empty(
            'bell',
            'Nobody is told yet',
            'Alerts are shown here only. Add a mail address, a webhook or a syslog server.',
            add,
          )
        : html`${table('Targets of alerts', targets, [
              { label: 'Name', sort: ({ name }) => name, cell: ({ name }) => name },
              { label: 'How', cell: whereTo },
              { label: 'From', cell: ({ atLeast }) => severity(atLeast) },
              {
                label: 'Delivered',
                cell: ({ delivery }) =>
                  html`${delivery.sent}${delivery.waiting > 0 ? `, ${delivery.waiting} waiting` : ''}${delivery.lost > 0 ? html` ${state('danger', `${delivery.lost} lost`)}` : nothing}${delivery.lastError === null ? nothing : html`<div class="muted">${delivery.lastError}</div>`}`,
              },
              {
                label: 'Actions',
                cell: (target) =>
                  html`<span class="actions"
                    >${button('Test', () => void test(target), { kind: 'flat' })}
                    ${button(
                      'Delete',
                      () => {
                        removeTarget(target);
                      },
                      { kind: 'flat', danger: true },
                    )}</span
                  >`,
              },
            ])}
            <p>${add}</p>`,
    )}
  </section>`;
}

function whereTo({ kind, email, webhook, syslog }: Target): string {
  if (email !== undefined) return `${kind} to ${email.to.join(', ')} by ${email.host}`;
  if (webhook !== undefined) return `${kind} to ${webhook.url}`;
  return syslog === undefined ? kind : `${kind} to ${syslog.host}, ${syslog.protocol}`;
}

function changeRule({ rule, enabled, limit, unit, defaultLimit }: Rule): void {
  openForm({
    title: `Rule ${rule}`,
    action: 'Save',
    steps: [
      {
        title: 'Rule',
        fields: [
          { name: 'enabled', label: 'Watch it', type: 'checkbox', value: enabled },
          {
            name: 'limit',
            label: `Begins at, ${unit}`,
            type: 'text',
            required: true,
            value: String(limit),
            help: `Usually ${defaultLimit}.`,
            check: (text) => (Number(text) > 0 ? undefined : 'A number above 0.'),
          },
        ],
      },
    ],
    submit: async (values) => {
      await call('PATCH /alert-rules/{rule}', {
        params: { rule },
        body: { enabled: values.flag('enabled'), limit: Number(values.text('limit')) },
      });
      changed('alertRules', 'alerts');
    },
  });
}

const of =
  (kind: string) =>
  (values: Values): boolean =>
    values.text('kind') === kind;
const TARGET_FIELDS: readonly Field[] = [
  { name: 'name', label: 'Name', type: 'text', required: true, check: checkName },
  {
    name: 'kind',
    label: 'How',
    type: 'select',
    choices: [
      { value: 'email', label: 'E-mail' },
      { value: 'webhook', label: 'Webhook' },
      { value: 'syslog', label: 'Syslog' },
    ],
  },
  { name: 'mailHost', label: 'Mail server', type: 'text', required: true, when: of('email') },
  { name: 'mailPort', label: 'Port', type: 'text', required: true, value: '587', when: of('email') },
  {
    name: 'mailSecurity',
    label: 'Protection',
    type: 'select',
    when: of('email'),
    choices: [
      { value: 'starttls', label: 'STARTTLS' },
      { value: 'tls', label: 'TLS from the beginning' },
      { value: 'none', label: 'None (a server on this machine)' },
    ],
  },
  { name: 'mailUser', label: 'User at the mail server', type: 'text', when: of('email') },
  { name: 'from', label: 'From', type: 'text', required: true, when: of('email') },
  { name: 'to', label: 'To, one address per line', type: 'lines', required: true, when: of('email') },
  { name: 'url', label: 'URL', type: 'text', required: true, value: 'https://', when: of('webhook') },
  { name: 'logHost', label: 'Syslog server', type: 'text', required: true, when: of('syslog') },
  { name: 'logPort', label: 'Port', type: 'text', required: true, value: '514', when: of('syslog') },
  {
    name: 'logProtocol',
    label: 'Protocol',
    type: 'select',
    when: of('syslog'),
    choices: ['udp', 'tcp', 'tls'].map((value) => ({ value, label: value.toUpperCase() })),
  },
  {
    name: 'secret',
    label: 'Password of the mail server, or key that signs the webhook',
    type: 'password',
    help: 'Kept encrypted; it cannot be read again.',
    when: (values) => values.text('kind') !== 'syslog',
  },
  {
    name: 'atLeast',
    label: 'Tell from',
    type: 'select',
    value: 'warning',
    choices: ['info', 'warning', 'error', 'critical'].map((value) => ({ value, label: value })),
  },
];

type TargetBody = Ask<'PUT /alert-targets/{name}'>['body'];

function bodyOf(values: Values): TargetBody {
  const secret = values.secret('secret');
  const user = values.text('mailUser');
  const common = { atLeast: values.text('atLeast') as Severity, ...(secret === '' ? {} : { secret }) };
  switch (values.text('kind')) {
    case 'webhook':
      return { ...common, webhook: { url: values.text('url') } };
    case 'syslog':
      return {
        ...common,
        syslog: {
          host: values.text('logHost'),
          port: Number(values.text('logPort')),
          protocol: values.text('logProtocol') as 'udp' | 'tcp' | 'tls',
        },
      };
    default:
      return {
        ...common,
        email: {
          host: values.text('mailHost'),
          port: Number(values.text('mailPort')),
          security: values.text('mailSecurity') as 'starttls' | 'tls' | 'none',
          ...(user === '' ? {} : { user }),
          from: values.text('from'),
          to: values.lines('to'),
        },
      };
  }
}

function addTarget(): void {
  openForm({
    title: 'Add a target of alerts',
    action: 'Add',
    steps: [{ title: 'Target', fields: TARGET_FIELDS }],
    submit: async (values) => {
      const name = values.text('name');
      await call('PUT /alert-targets/{name}', { params: { name }, body: bodyOf(values) });
      changed('alertTargets');
      toast('success', `${name} is told of alerts`, 'Send a test to be sure.');
    },
  });
}

async function test({ name }: Target): Promise<void> {
  toast('info', `Sending a test to ${name}`);
  try {
    await call('POST /alert-targets/{name}/test', { params: { name } });
    toast('success', `${name} has taken the test`);
  } catch (error) {
    toastProblem(`The test to ${name}`, error);
  }
  changed('alertTargets');
}

function removeTarget({ name, delivery }: Target): void {
  openForm({
    title: `Delete target ${name}?`,
    action: 'Delete',
    danger: true,
    steps: [
      {
        title: 'Delete',
        intro: `It is not told of anything any more${delivery.waiting > 0 ? `; ${plural(delivery.waiting, 'message')} that wait are dropped` : ''}.`,
      },
    ],
    submit: async () => {
      await call('DELETE /alert-targets/{name}', { params: { name } });
      changed('alertTargets');
      toast('success', `${name} is deleted`);
    },
  });
}

customElements.define('gemel-events', Events);
