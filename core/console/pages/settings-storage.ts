// Settings of the storage: where hosts come in, and what volumes have in common.
import { html, nothing } from 'lit';
import { call } from '../api/client.ts';
import type { Item } from '../api/client.ts';
import { changed, data } from '../api/data.ts';
import { duration, plural } from '../parts/format.ts';
import { openForm } from '../parts/form.ts';
import type { Choice } from '../parts/form.ts';
import { table } from '../parts/table.ts';
import { toast } from '../parts/toast.ts';
import { button, note, sentence, shown, state } from '../parts/view.ts';
import { checkName } from './access-fields.ts';

type Portal = Item<'GET /portals'>;
type Policy = Item<'GET /policies'>;

const DAY = 86_400_000;
const UNSAID: Choice = { value: '', label: 'Not said here' };

export function storageSettings(): unknown {
  return html`<section class="card wide" aria-labelledby="portals">
      <h2 id="portals">Portals</h2>
      <p class="muted">
        Addresses at which this node listens for hosts. Two on different cables are two ways to each disk.
      </p>
      ${shown(data.portals, (portals) =>
        table('Portals', portals, [
          {
            label: 'Name',
            sort: ({ name }) => name,
            cell: ({ name, setting }) =>
              html`${name}${setting ? html`<div class="muted">from a setting of the daemon</div>` : nothing}`,
          },
          { label: 'Address', cell: ({ reached, address }) => reached ?? address },
          { label: 'Group tag', numeric: true, cell: ({ tag }) => tag },
          {
            label: 'State',
            cell: ({ problem }) =>
              problem === null
                ? state('success', 'listens')
                : html`${state('danger', 'does not listen')}
                    <div>${sentence(problem)}</div>`,
          },
          { label: 'Sessions', numeric: true, cell: ({ sessions }) => sessions },
          {
            label: 'Actions',
            cell: (portal) =>
              button(
                'Remove',
                () => {
                  removePortal(portal);
                },
                { kind: 'flat', danger: true, disabled: portals.length === 1 },
              ),
          },
        ]),
      )}
      <p>${button('Add a portal', addPortal, { kind: 'solid', icon: 'plus' })}</p>
    </section>
    <section class="card wide" aria-labelledby="policies">
      <h2 id="policies">Policies</h2>
      <p class="muted">
        What volumes have in common by name. A new volume has what its policy says where nothing else is said.
      </p>
      ${shown(data.policies, (policies) =>
        policies.length === 0
          ? note('info', 'No policies yet: every volume has what was said when it was made, or what is usual.')
          : table('Policies', policies, [
              {
                label: 'Name',
                sort: ({ name }) => name,
                cell: ({ name, isDefault }) =>
                  html`${name}${isDefault ? html` <span class="muted">default</span>` : nothing}`,
              },
              { label: 'Durability', cell: ({ durability }) => durability ?? '-' },
              { label: 'Copies', numeric: true, cell: ({ replicas }) => replicas ?? '-' },
              { label: 'Offloaded copies', cell: ({ copyRoute }) => copyRoute ?? '-' },
              {
                label: 'Kept when deleted',
                cell: ({ keepDeletedMs: ms }) => (ms === null ? '-' : ms === 0 ? 'not at all' : duration(ms / 1000)),
              },
              { label: 'Volumes', numeric: true, cell: ({ volumes }) => volumes },
              {
                label: 'Actions',
                cell: (policy) =>
                  button(
                    'Remove',
                    () => {
                      removePolicy(policy);
                    },
                    { kind: 'flat', danger: true, disabled: policy.volumes > 0 },
                  ),
              },
            ]),
      )}
      <p>${button('Make a policy', addPolicy, { kind: 'solid', icon: 'plus' })}</p>
    </section>`;
}

function addPortal(): void {
  openForm({
    title: 'Add a portal',
    action: 'Add',
    steps: [
      {
        title: 'Portal',
        fields: [
          {
            ...{ name: 'address', label: 'Address', type: 'text', required: true },
            help: 'HOST:PORT of this machine, such as 10.0.0.5:3260.',
          },
          {
            ...{ name: 'advertised', label: 'Address hosts are told', type: 'text' },
            help: 'Only when they reach it by another one.',
          },
        ],
      },
    ],
    submit: async (values) => {
      const advertised = values.text('advertised');
      const body = { address: values.text('address'), ...(advertised === '' ? {} : { advertised }) };
      const made = await call('POST /portals', { body });
      changed('portals', 'status', 'audit');
      toast('success', `${made.name} listens`);
    },
  });
}

function removePortal({ name, sessions, initiators }: Portal): void {
  const ends =
    sessions === 0
      ? 'No host is connected there.'
      : html`${plural(sessions, 'session')} of ${initiators.join(', ')} will end. Make sure that these hosts have
        another way.`;
  openForm({
    title: `Remove ${name}?`,
    action: 'Remove',
    danger: true,
    steps: [{ title: 'Remove', intro: ends }],
    submit: async () => {
      const query = sessions === 0 ? {} : { query: { force: 'true' as const } };
      await call('DELETE /portals/{name}', { params: { name }, ...query });
      changed('portals', 'status', 'sessions', 'audit');
      toast('success', `${name} does not listen any more`);
    },
  });
}

function addPolicy(): void {
  openForm({
    title: 'Make a policy',
    action: 'Make',
    steps: [
      {
        title: 'Policy',
        fields: [
          { name: 'name', label: 'Name', type: 'text', required: true, check: checkName },
          {
            ...{ name: 'durability', label: 'A write is acknowledged', type: 'select' },
            choices: [
              UNSAID,
              { value: 'durable', label: 'when it is stable' },
              { value: 'mirrored-ram', label: 'when it is in the memory of two nodes' },
              { value: 'volatile', label: 'when it is in memory: for labs' },
            ],
          },
          {
            ...{ name: 'replicas', label: 'Copies', type: 'select' },
            choices: [UNSAID, ...['1', '2', '3'].map((value) => ({ value, label: value }))],
          },
          {
            ...{ name: 'copyRoute', label: 'Copies that hosts ask for', type: 'select' },
            choices: [UNSAID, ...['auto', 'always', 'share-only', 'never'].map((value) => ({ value, label: value }))],
          },
          {
            ...{ name: 'days', label: 'Deleted volumes are kept', type: 'select' },
            choices: [
              UNSAID,
              { value: '0', label: 'not at all' },
              { value: '1', label: 'a day' },
              { value: '7', label: 'a week' },
              { value: '30', label: '30 days' },
            ],
          },
          { name: 'isDefault', label: 'New volumes have it when nobody names another', type: 'checkbox' },
        ],
      },
    ],
    submit: async (values) => {
      const [durability, replicas, copyRoute, days] = ['durability', 'replicas', 'copyRoute', 'days'].map((field) =>
        values.text(field),
      );
      const said = {
        ...{ durability, copyRoute },
        replicas: replicas === '' ? '' : Number(replicas),
        keepDeletedMs: days === '' ? '' : Number(days) * DAY,
      };
      const settings = Object.fromEntries(Object.entries(said).filter(([, value]) => value !== ''));
      const name = values.text('name');
      await call('POST /policies', { body: { name, isDefault: values.flag('isDefault'), ...settings } });
      changed('policies', 'audit');
      toast('success', `${name} is made`);
    },
  });
}

function removePolicy({ name }: Policy): void {
  openForm({
    title: `Remove ${name}?`,
    action: 'Remove',
    danger: true,
    steps: [{ title: 'Remove', intro: 'No volume has it.' }],
    submit: async () => {
      await call('DELETE /policies/{name}', { params: { name } });
      changed('policies', 'audit');
      toast('success', `${name} is removed`);
    },
  });
}
