// The volumes of a cluster: who serves each, who has it in step, how far the others are, and what can be done.
import { html, nothing } from 'lit';
import { hasRow } from '../api/cluster.ts';
import type { Cluster, Replica, Replication } from '../api/cluster-types.ts';
import { callOptional } from '../api/client.ts';
import { changed } from '../api/data.ts';
import { bytes, duration, rate } from '../parts/format.ts';
import { openForm } from '../parts/form.ts';
import { table } from '../parts/table.ts';
import { toast } from '../parts/toast.ts';
import { button, note, sentence, state } from '../parts/view.ts';
import { linkTo } from '../router.ts';
import { forRole } from '../session.ts';
import { progress } from './pools.ts';

const HAND_OVER = 'POST /volumes/{name}/replication/hand-over';
const DRILL = 'POST /volumes/{name}/replication/drill';

const nameIn = (cluster: Cluster, id: string | null): string =>
  cluster.nodes.find((each) => each.id === id)?.name ?? id ?? 'nobody';

export function replicatedVolumes(cluster: Cluster, volumes: readonly Replication[]): unknown {
  if (volumes.length === 0) {
    return html`<p class="muted">
      None is on several nodes yet. <a href=${linkTo('volumes')}>Create one</a>, or mirror one that is there.
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
            html`<span class="actions">${moveButton(cluster, each)} ${drillButton(cluster, each)}</span>`,
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
  if (!hasRow(HAND_OVER) || to.length === 0) return nothing;
  return button(
    'Hand over',
    () => {
      openForm({
        title: `Hand ${volume.volume} over`,
        action: 'Hand over',
        steps: [
          {
            title: 'Hand over',
            intro: 'Another node serves it from then on. Hosts see a pause of a fraction of a second, and no error.',
            fields: [{ name: 'to', label: 'To', type: 'select', choices: to }],
          },
        ],
        submit: async (values) => {
          const path = `/volumes/${encodeURIComponent(volume.volume)}/replication/hand-over`;
          await callOptional('POST', path, { to: values.text('to') });
          changed('replication', 'cluster');
          toast('success', `${volume.volume} is served by ${values.text('to')}`);
        },
      });
    },
    { kind: 'flat' },
  );
}

function drillButton(cluster: Cluster, volume: Replication): unknown {
  const to = heirs(cluster, volume);
  if (!hasRow(DRILL) || to.length === 0) return nothing;
  return button(
    'Drill',
    () => {
      openForm({
        title: `Failover drill of ${volume.volume}`,
        action: 'Begin the drill',
        steps: [
          {
            title: 'Drill',
            intro: note(
              'warning',
              'Its owner stops serving it as if it had died, and another node takes over. Hosts see a pause of some seconds; it is measured.',
            ),
          },
        ],
        submit: async () => {
          const path = `/volumes/${encodeURIComponent(volume.volume)}/replication/drill`;
          const { pauseMs } = (await callOptional('POST', path, {})) as { pauseMs: number };
          changed('replication', 'cluster');
          return note('success', `Hosts saw a pause of ${(pauseMs / 1000).toFixed(2)} s.`);
        },
      });
    },
    { kind: 'flat' },
  );
}
