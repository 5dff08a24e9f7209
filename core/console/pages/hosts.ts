// Hosts, groups of them, their sessions, and initiators with credentials of their own.
import { html, nothing } from 'lit';
import { data } from '../api/data.ts';
import type { Host, HostGroup } from '../api/data.ts';
import { plural, when } from '../parts/format.ts';
import { chapText, loggedIn, sessionTable } from '../parts/sessions.ts';
import { table } from '../parts/table.ts';
import type { Column } from '../parts/table.ts';
import { View, button, empty, pageHead, shown, state } from '../parts/view.ts';
import { linkTo } from '../router.ts';
import { forRole } from '../session.ts';
import {
  addInitiator,
  editGroup,
  editHost,
  forgetHost,
  forgetInitiator,
  mapVolumes,
  removeGroup,
} from './host-actions.ts';
import { hostPage } from './host.ts';

const act = (...args: Parameters<typeof button>): unknown => forRole('admin', button(...args));

class Hosts extends View {
  static override properties = { name: {} };
  /** Of one host. */
  declare name: string | undefined;

  constructor() {
    super();
    this.watch(data.sessions, data.initiators, data.hosts, data.hostGroups, data.volumes);
  }

  override render(): unknown {
    return this.name === undefined ? list() : hostPage(this.name);
  }
}

function list(): unknown {
  return html`${pageHead(
      'Hosts and sessions',
      'Who may log in, and who is logged in.',
      act(
        'Add a host',
        () => {
          editHost();
        },
        { kind: 'solid', icon: 'plus' },
      ),
    )}
    <section class="card wide" aria-labelledby="hosts-hosts">
      <h2 id="hosts-hosts">Hosts</h2>
      ${shown(data.hosts, hostTable)}
    </section>
    <section class="card wide" aria-labelledby="hosts-groups">
      <h2 id="hosts-groups">Host groups</h2>
      ${shown(data.hostGroups, groupTable)}
    </section>
    <section class="card wide" aria-labelledby="hosts-sessions">
      <h2 id="hosts-sessions">Sessions</h2>
      ${shown(data.sessions, (sessions) =>
        sessions.length === 0
          ? html`<p class="muted">
              Nobody is logged in. Map a volume to a host, then <a href=${linkTo('connect')}>connect the hypervisor</a>.
            </p>`
          : sessionTable(sessions),
      )}
    </section>
    <section class="card wide" aria-labelledby="hosts-initiators">
      <h2 id="hosts-initiators">Initiators with credentials</h2>
      ${initiatorsCard()}
    </section>`;
}

const volumeLinks = (names: readonly string[]): unknown =>
  names.length > 4
    ? plural(names.length, 'volume')
    : names.map((name) => html`<a href=${linkTo('volumes', name)}>${name}</a> `);

const hostColumns: Column<Host>[] = [
  {
    label: 'Name',
    sort: ({ name }) => name,
    cell: ({ name }) => html`<a href=${linkTo('hosts', name)}>${name}</a>`,
  },
  {
    label: 'Initiators',
    cell: ({ iqns }) =>
      html`${iqns[0] ?? '–'}${iqns.length > 1 ? html` <span class="muted">and ${iqns.length - 1} more</span>` : nothing}`,
  },
  { label: 'State', sort: ({ connected }) => connected.length, cell: loggedIn },
  { label: 'CHAP', cell: chapText },
  { label: 'Groups', cell: ({ groups }) => groups.join(', ') || '–' },
  { label: 'Volumes', sort: ({ volumes }) => volumes.length, cell: ({ volumes }) => volumeLinks(volumes) },
  {
    label: 'Actions',
    cell: (host) =>
      html`<span class="actions"
        >${act(
          'Change',
          () => {
            editHost(host);
          },
          { kind: 'flat' },
        )}
        ${act(
          'Forget',
          () => {
            forgetHost(host);
          },
          { kind: 'flat', danger: true },
        )}</span
      >`,
  },
];

function hostTable(hosts: readonly Host[]): unknown {
  return hosts.length === 0
    ? empty(
        'host',
        'No hosts yet',
        'Add each server with the iSCSI names of its adapters: volumes are then mapped to the host, once, and its paths are checked.',
        act(
          'Add the first host',
          () => {
            editHost();
          },
          { kind: 'solid', icon: 'plus' },
        ),
      )
    : table('Hosts', hosts, hostColumns, ({ name, iqns, groups }) => [name, ...iqns, ...groups].join(' '));
}

function groupTable(groups: readonly HostGroup[]): unknown {
  const create = act(
    'Create a group',
    () => {
      editGroup();
    },
    { icon: 'plus' },
  );
  if (groups.length === 0) {
    return html`<p class="muted">
        None yet. Hosts of one cluster share their volumes: put them into a group, and map volumes to the group.
      </p>
      <p>${create}</p>`;
  }
  const columns: Column<HostGroup>[] = [
    { label: 'Name', sort: ({ name }) => name, cell: ({ name }) => name },
    {
      label: 'Hosts',
      cell: ({ hosts }) =>
        hosts.length === 0 ? 'none' : hosts.map((name) => html`<a href=${linkTo('hosts', name)}>${name}</a> `),
    },
    {
      label: 'Volumes',
      cell: ({ name }) =>
        volumeLinks(
          (data.volumes.value ?? [])
            .filter(({ maps }) => maps.some(({ initiator }) => initiator === `group:${name}`))
            .map((volume) => volume.name),
        ),
    },
    {
      label: 'Actions',
      cell: (group) =>
        html`<span class="actions"
          >${forRole(
            'operator',
            button(
              'Map volumes',
              () => {
                mapVolumes(`group:${group.name}`, `group ${group.name}`);
              },
              { kind: 'flat' },
            ),
          )}
          ${act(
            'Change',
            () => {
              editGroup(group);
            },
            { kind: 'flat' },
          )}
          ${act(
            'Delete',
            () => {
              removeGroup(group);
            },
            { kind: 'flat', danger: true },
          )}</span
        >`,
    },
  ];
  return html`${table('Host groups', groups, columns, ({ name, hosts }) => [name, ...hosts].join(' '))}
    <p>${create}</p>`;
}

function initiatorsCard(): unknown {
  const add = act('Add an initiator', addInitiator, { icon: 'plus' });
  return shown(
    data.initiators,
    (initiators) =>
      html`${
          initiators.length === 0
            ? html`<p class="muted">
                None. Here a single initiator gets credentials (CHAP) of its own; without, those of its host count, else
                its name is enough.
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
                  { label: 'Volumes', cell: ({ volumes }) => volumeLinks(volumes) },
                  { label: 'Known since', sort: ({ created }) => created, cell: ({ created }) => when(created) },
                  {
                    label: 'Actions',
                    cell: ({ iqn }) =>
                      act(
                        'Forget',
                        () => {
                          forgetInitiator(iqn);
                        },
                        { kind: 'flat', danger: true },
                      ),
                  },
                ],
                ({ iqn }) => iqn,
              )
        }
        <p>${add}</p>`,
  );
}

customElements.define('gemel-hosts', Hosts);
