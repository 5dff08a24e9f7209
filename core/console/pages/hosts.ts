import { html, nothing } from 'lit';
import { call } from '../api/client.ts';
import { changed, data } from '../api/data.ts';
import type { Session } from '../api/data.ts';
import { bytes, count, plural, when } from '../parts/format.ts';
import { openForm } from '../parts/form.ts';
import { table } from '../parts/table.ts';
import { toast } from '../parts/toast.ts';
import { View, button, empty, pageHead, shown, state } from '../parts/view.ts';
import { linkTo } from '../router.ts';
import { forRole } from '../session.ts';
import { checkInitiators, checkName } from './volume-wizard.ts';

const act = (...args: Parameters<typeof button>): unknown => forRole('admin', button(...args));

class Hosts extends View {
  constructor() {
    super();
    this.watch(data.sessions, data.initiators, data.hosts);
  }

  override render(): unknown {
    return html`${pageHead(
        'Hosts and sessions',
        'Who may log in, and who is logged in.',
        act('Add an initiator', addInitiator, { kind: 'solid', icon: 'plus' }),
      )}
      <section class="card wide" aria-labelledby="hosts-hosts">
        <h2 id="hosts-hosts">Hosts</h2>
        ${hostTable()}
      </section>
      <section class="card wide" aria-labelledby="hosts-sessions">
        <h2 id="hosts-sessions">Sessions</h2>
        ${shown(data.sessions, (sessions) =>
          sessions.length === 0
            ? empty(
                'host',
                'Nobody is logged in',
                html`Map a volume to a host, then <a href=${linkTo('connect')}>connect the hypervisor</a>.`,
              )
            : sessionTable(sessions),
        )}
      </section>
      <section class="card wide" aria-labelledby="hosts-initiators">
        <h2 id="hosts-initiators">Initiators with credentials</h2>
        ${shown(data.initiators, (initiators) =>
          initiators.length === 0
            ? html`<p class="muted">
                None. Add an initiator to make it prove who it is (CHAP); without, its name is enough.
              </p>`
            : table(
                'Initiators',
                initiators,
                [
                  { label: 'iSCSI name', sort: ({ iqn }) => iqn, cell: ({ iqn }) => iqn },
                  {
                    label: 'CHAP',
                    cell: ({ chapUser, mutualUser }) =>
                      chapUser === null
                        ? state('neutral', 'none')
                        : state('success', mutualUser === null ? 'one way' : 'mutual'),
                  },
                  {
                    label: 'Volumes',
                    cell: ({ volumes }) => volumes.map((name) => html`<a href=${linkTo('volumes', name)}>${name}</a> `),
                  },
                  { label: 'Known since', sort: ({ created }) => created, cell: ({ created }) => when(created) },
                  {
                    label: 'Actions',
                    cell: ({ iqn }) =>
                      act(
                        'Forget',
                        () => {
                          forget(iqn);
                        },
                        { kind: 'flat', danger: true },
                      ),
                  },
                ],
                ({ iqn }) => iqn,
              ),
        )}
      </section>`;
  }
}

function hostTable(): unknown {
  const add = act('Add a host', addHost, { icon: 'plus' });
  return shown(data.hosts, (hosts) =>
    hosts.length === 0
      ? html`<p class="muted">
            None yet. A host has a name and all its initiators, so a volume is mapped once to all of them.
          </p>
          <p>${add}</p>`
      : html`${table(
            'Hosts',
            hosts,
            [
              { label: 'Name', sort: ({ name }) => name, cell: ({ name }) => name },
              { label: 'Initiators', cell: ({ iqns }) => iqns.map((iqn) => html`<div>${iqn}</div>`) },
              {
                label: 'Logged in',
                cell: ({ iqns, connected }) =>
                  connected.length === iqns.length
                    ? state('success', 'all')
                    : connected.length === 0
                      ? state('neutral', 'none')
                      : state('warning', `${connected.length} of ${iqns.length}`),
              },
              {
                label: 'CHAP',
                cell: ({ chapUser, mutualUser }) =>
                  chapUser === null ? 'none' : mutualUser === null ? 'one way' : 'mutual',
              },
              {
                label: 'Volumes',
                cell: ({ volumes }) => volumes.map((name) => html`<a href=${linkTo('volumes', name)}>${name}</a> `),
              },
              {
                label: 'Actions',
                cell: ({ name }) =>
                  act(
                    'Forget',
                    () => {
                      forgetHost(name);
                    },
                    { kind: 'flat', danger: true },
                  ),
              },
            ],
            ({ name, iqns }) => `${name} ${iqns.join(' ')}`,
          )}
          <p>${add}</p>`,
  );
}

function addHost(): void {
  openForm({
    title: 'Add a host',
    action: 'Add',
    steps: [
      {
        title: 'Host',
        fields: [
          { name: 'name', label: 'Name', type: 'text', required: true, check: checkName },
          {
            name: 'iqns',
            label: 'iSCSI names, one per line',
            type: 'lines',
            required: true,
            check: (_text, values) => checkInitiators(values.lines('iqns')),
          },
        ],
      },
    ],
    submit: async (values) => {
      const name = values.text('name');
      await call('PUT /hosts/{name}', { params: { name }, body: { iqns: values.lines('iqns') } });
      changed('hosts');
      toast('success', `Host ${name} is known`);
    },
  });
}

function forgetHost(name: string): void {
  openForm({
    title: `Forget host ${name}?`,
    action: 'Forget',
    danger: true,
    steps: [{ title: 'Forget', intro: 'Only a host to which nothing is mapped can be forgotten.' }],
    submit: async () => {
      await call('DELETE /hosts/{name}', { params: { name } });
      changed('hosts');
      toast('success', `Host ${name} is forgotten`);
    },
  });
}

function sessionTable(sessions: readonly Session[]): unknown {
  return table(
    'Sessions',
    sessions,
    [
      {
        label: 'Initiator',
        sort: ({ initiator }) => initiator,
        cell: ({ initiator, alias }) =>
          html`${initiator}${alias === null ? nothing : html`<div class="muted">${alias}</div>`}`,
      },
      { label: 'Target', sort: ({ target }) => target ?? '', cell: ({ target }) => target ?? 'discovery' },
      { label: 'From', sort: ({ peer }) => peer, cell: ({ peer }) => peer },
      { label: 'Portal', sort: ({ portal }) => portal, cell: ({ portal }) => portal },
      { label: 'Commands', numeric: true, sort: ({ commands }) => commands, cell: ({ commands }) => count(commands) },
      { label: 'Read', numeric: true, sort: ({ readBytes }) => readBytes, cell: ({ readBytes }) => bytes(readBytes) },
      {
        label: 'Written',
        numeric: true,
        sort: ({ writtenBytes }) => writtenBytes,
        cell: ({ writtenBytes }) => bytes(writtenBytes),
      },
      {
        label: 'Trouble',
        cell: ({ digestErrors, rejects }) =>
          digestErrors + rejects === 0
            ? 'none'
            : state('warning', `${plural(digestErrors, 'digest error')}, ${plural(rejects, 'reject')}`),
      },
    ],
    ({ initiator, target, peer }) => `${initiator} ${target ?? ''} ${peer}`,
  );
}

function addInitiator(): void {
  openForm({
    title: 'Add an initiator',
    action: 'Add',
    steps: [
      {
        title: 'Initiator',
        intro:
          'Secrets have 12 to 16 characters for most initiators. They are kept encrypted and cannot be read again.',
        fields: [
          { name: 'iqn', label: 'iSCSI name', type: 'text', required: true, check: (text) => checkInitiators([text]) },
          { name: 'user', label: 'CHAP user', type: 'text', required: true },
          { name: 'secret', label: 'CHAP secret', type: 'password', required: true },
          { name: 'mutual', label: 'We prove who we are too (mutual CHAP)', type: 'checkbox' },
          {
            name: 'mutualUser',
            label: 'Our user',
            type: 'text',
            required: true,
            when: (values) => values.flag('mutual'),
          },
          {
            name: 'mutualSecret',
            label: 'Our secret',
            type: 'password',
            required: true,
            help: 'Another one than above.',
            when: (values) => values.flag('mutual'),
          },
        ],
      },
    ],
    submit: async (values) => {
      const iqn = values.text('iqn');
      await call('PUT /initiators/{iqn}', {
        params: { iqn },
        body: {
          chap: { user: values.text('user'), secret: values.secret('secret') },
          ...(values.flag('mutual')
            ? { mutual: { user: values.text('mutualUser'), secret: values.secret('mutualSecret') } }
            : {}),
        },
      });
      changed('initiators');
      toast('success', `${iqn} has to prove who it is now`);
    },
  });
}

function forget(iqn: string): void {
  openForm({
    title: 'Forget the initiator?',
    action: 'Forget',
    danger: true,
    steps: [
      {
        title: 'Forget',
        intro: html`The credentials of <b>${iqn}</b> are deleted; its name alone is enough again where volumes are
          mapped to it.`,
      },
    ],
    submit: async () => {
      await call('DELETE /initiators/{iqn}', { params: { iqn } });
      changed('initiators');
      toast('success', `${iqn} is forgotten`);
    },
  });
}

customElements.define('gemel-hosts', Hosts);
