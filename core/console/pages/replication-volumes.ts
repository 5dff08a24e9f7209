// The volumes of a cluster: who serves each, who has it in step, how far the others are, and what can be done.
import { html, nothing } from 'lit';
import type { Cluster, Replica, Replication } from '../api/cluster-types.ts';
import { call } from '../api/client.ts';
import { changed } from '../api/data.ts';
import { bytes, duration, latency, rate } from '../parts/format.ts';
import { openForm } from '../parts/form.ts';
import { table } from '../parts/table.ts';
import { toast } from '../parts/toast.ts';
import { button, note, sentence, state } from '../parts/view.ts';
import { linkTo } from '../router.ts';
import { forRole } from '../session.ts';
import { progress } from './pools.ts';

const nameIn = (cluster: Cluster, id: string | null): string =>
  cluster.nodes.find((each) => each.id === id)?.name ?? id ?? 'nobody';

export function replicatedVolumes(cluster: Cluster, volumes: readonly Replication[]): unknown {
  if (volumes.length === 0) {
    return html`<p class="muted">
      None is on several nodes yet. <a href=${linkTo('volumes')}>Create one</a>; those that are there keep their one
      copy.
    </p>`;
  }
  return table(
    'Mirrored volumes',
    volumes,
    [
      {
        label: 'Volume',
        sort: ({ volume }) => volume,
        cell: ({ volume }) => html`<a href=${linkTo('volumes', volume)}>${volume}</a>`,
      },
      {
        label: 'Served by',
        sort: ({ owner }) => nameIn(cluster, owner),
        cell: ({ owner, epoch, why }) =>
          owner === null
            ? html`${state('danger', 'nobody')}
                <div class="muted">${sentence(why)}</div>`
            : html`${nameIn(cluster, owner)} <span class="muted">epoch ${epoch}</span>`,
      },
      {
        label: 'In step',
        sort: ({ inSync, replicas }) => inSync.length / Math.max(1, replicas.length),
        cell: ({ inSync, replicas }) =>
          inSync.length === replicas.length
            ? state('success', `all ${replicas.length}`)
            : state(inSync.length > 1 ? 'warning' : 'danger', `${inSync.length} of ${replicas.length}`),
      },
      {
        label: 'The others',
        cell: ({ replicas }) =>
          replicas.filter(({ inSync }) => !inSync).map((each) => html`<div>${behind(cluster, each)}</div>`),
      },
      {
        label: 'Actions',
        cell: (each) =>
          forRole(
            'operator',
            html`<span class="actions"
              >${moveButton(cluster, each)} ${drillButton(cluster, each)} ${copiesButton(cluster, each)}
              ${forRole('admin', promoteButton(each))}</span
            >`,
          ),
      },
    ],
    ({ volume, owner }) => `${volume} ${nameIn(cluster, owner)}`,
  );
}

function behind(cluster: Cluster, { node, why, lacksBytes, resync }: Replica): unknown {
  const name = nameIn(cluster, node);
  if (resync === null) {
    return html`${name}:
    ${why}${lacksBytes > 0 ? html` <span class="muted">(${bytes(lacksBytes)} behind)</span>` : nothing}`;
  }
  const { leftBytes, totalBytes, bytesPerSecond, etaSeconds } = resync;
  const eta = etaSeconds === null ? 'time not known yet' : `${duration(etaSeconds)} left`;
  const share = totalBytes === 0 ? 1 : 1 - leftBytes / totalBytes;
  return progress(
    `${name}: ${bytes(leftBytes)} of ${bytes(totalBytes)} to copy, ${rate(bytesPerSecond)}, ${eta}`,
    share,
  );
}

/** Nodes that could serve it at once. */
const heirs = (cluster: Cluster, { inSync, owner }: Replication): { value: string; label: string }[] =>
  cluster.nodes
    .filter(({ id, answers }) => id !== owner && answers && inSync.includes(id))
    .map(({ name }) => ({ value: name, label: name }));

function moveButton(cluster: Cluster, volume: Replication): unknown {
  const to = heirs(cluster, volume);
  if (volume.owner === null || to.length === 0) return nothing;
  return button(
    'Hand over',
    () => {
      openForm({
        title: `Hand ${volume.volume} over`,
        action: 'Hand over',
        steps: [
          {
            title: 'Hand over',
            intro:
              'Another node serves it from then on, as before its own node is maintained. Hosts see a pause and no error; the pause is measured.',
            fields: [{ name: 'to', label: 'To', type: 'select', choices: to }],
          },
        ],
        submit: async (values) => {
          const { pauseMs } = await call('POST /volumes/{name}/replication/hand-over', {
            params: { name: volume.volume },
            body: { to: values.text('to') },
          });
          changed('replication', 'cluster');
          return note(
            'success',
            `${volume.volume} is served by ${values.text('to')}. Nobody served it for ${latency(pauseMs * 1000)}.`,
          );
        },
      });
    },
    { kind: 'flat' },
  );
}

/** Another node really serves it for a moment: only where that is no outage. */
function drillButton(cluster: Cluster, { volume, owner, inSync, replicas }: Replication): unknown {
  if (owner === null || replicas.length < 2 || inSync.length < replicas.length) return nothing;
  return button(
    'Drill',
    () => {
      openForm({
        title: `Failover drill of ${volume}`,
        action: 'Run the drill',
        steps: [
          {
            title: 'Drill',
            intro:
              'Another node serves it for a moment, and it comes back. Hosts see a pause and no error, and the pause is measured.',
            fields: [
              {
                name: 'how',
                label: 'How',
                type: 'select',
                choices: [
                  { value: 'planned', label: 'Hand-over in good order' },
                  { value: 'hard', label: 'As if its node had died (some seconds)' },
                ],
              },
            ],
          },
        ],
        submit: async (values) => {
          const { steps } = await call('POST /volumes/{name}/replication/drill', {
            params: { name: volume },
            body: { hard: values.text('how') === 'hard' },
          });
          changed('replication', 'cluster');
          return note(
            'success',
            html`${steps.map(
              ({ to, pauseMs, longestCommandMs }) =>
                html`<div>
                  ${nameIn(cluster, to)} served it after ${latency(pauseMs * 1000)};
                  ${longestCommandMs === null ? 'no command of a host was under way.' : `the longest command of a host took ${latency(longestCommandMs * 1000)}.`}
                </div>`,
            )}`,
          );
        },
      });
    },
    { kind: 'flat' },
  );
}

/** Another node gets a copy, or one gives its copy up. */
export function copiesButton(
  cluster: Cluster,
  { volume, inSync, replicas }: { volume: string; inSync: readonly string[]; replicas: readonly { node: string }[] },
): unknown {
  const has = (id: string): boolean => replicas.some(({ node }) => node === id);
  const nodes = cluster.nodes.filter(({ role }) => role === 'data');
  const more = nodes.filter(({ id, answers }) => answers && !has(id));
  // The last one that has everything stays.
  const less = replicas.length < 2 ? [] : nodes.filter(({ id }) => has(id) && inSync.some((each) => each !== id));
  if (more.length + less.length === 0) return nothing;
  return button(
    'Copies',
    () => {
      openForm({
        title: `Copies of ${volume}`,
        action: 'Begin',
        steps: [
          {
            title: 'Copies',
            intro:
              'A new copy is made empty, and everything is copied to it while hosts go on. A copy that is removed is gone for good.',
            fields: [
              {
                name: 'what',
                label: 'Change',
                type: 'select',
                choices: [
                  ...more.map(({ name }) => ({ value: `replica-add ${name}`, label: `Add a copy on ${name}` })),
                  ...less.map(({ name }) => ({ value: `replica-remove ${name}`, label: `Remove the copy on ${name}` })),
                ],
              },
            ],
          },
        ],
        submit: async (values) => {
          const [kind, node = ''] = values.text('what').split(' ');
          const request = { volume, node };
          await call('POST /jobs', {
            body: kind === 'replica-add' ? { kind, request } : { kind: 'replica-remove', request },
          });
          changed('replication', 'cluster', 'jobs', 'volumes');
          toast('success', `The copies of ${volume} are being changed`);
        },
      });
    },
    { kind: 'flat' },
  );
}

/** Nobody serves it: the last resort, which may lose what only another node has. */
function promoteButton({ volume, owner, why }: Replication): unknown {
  if (owner !== null) return nothing;
  return button(
    'Promote',
    () => {
      openForm({
        title: `Promote the copy of ${volume} here?`,
        action: 'Promote',
        danger: true,
        steps: [
          {
            title: 'Promote',
            intro: note(
              'warning',
              html`${sentence(why)} If another node has newer data, what was acknowledged there is lost. Bring that node
              back instead, if you can.`,
            ),
            fields: [
              {
                name: 'confirm',
                label: `Type ${volume} to confirm`,
                type: 'text',
                required: true,
                check: (text) => (text === volume ? undefined : `Type exactly ${volume}.`),
              },
            ],
          },
        ],
        submit: async () => {
          await call('POST /volumes/{name}/replication/promote', { params: { name: volume } });
          changed('replication', 'cluster');
          toast('success', `${volume} is served from here`);
        },
      });
    },
    { kind: 'flat', danger: true },
  );
}
