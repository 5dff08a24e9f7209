// Replication: the nodes, who has which volume in step, and what would happen if a node died now.
import { html, nothing } from 'lit';
import type { Cluster, Replication } from '../api/cluster-types.ts';
import { call } from '../api/client.ts';
import { changed, data } from '../api/data.ts';
import type { Volume } from '../api/data.ts';
import { copyable } from '../parts/copy.ts';
import { forecast } from '../parts/forecast.ts';
import type { Forecast } from '../parts/forecast.ts';
import { bytes, plural, when } from '../parts/format.ts';
import { choice, openForm } from '../parts/form.ts';
import { topology } from '../parts/topology.ts';
import { View, button, note, pageHead, sentence, shown, state } from '../parts/view.ts';
import { linkTo } from '../router.ts';
import { forRole } from '../session.ts';
import { copiesButton, replicatedVolumes } from './replication-volumes.ts';

class ReplicationPage extends View {
  static override properties = { dying: { state: true } };
  /** Id of the node of which is asked what would happen; empty: this one. */
  declare dying: string;

  constructor() {
    super();
    this.dying = '';
    this.watch(data.cluster, data.replication, data.volumes, data.divergence);
  }

  override render(): unknown {
    return html`${pageHead('Replication', 'The same volumes on two or three nodes.')}
    ${shown(data.cluster, (cluster) =>
      cluster.cluster === null ? alone() : shown(data.replication, (volumes) => this.#cluster(cluster, volumes)),
    )}`;
  }

  #cluster(cluster: Cluster, volumes: readonly Replication[]): unknown {
    const { store, takeover, advice } = cluster;
    const dying =
      cluster.nodes.find(({ id }) => id === this.dying) ?? cluster.nodes.find(({ self }) => self) ?? cluster.nodes[0];
    return html`${store.answers ? nothing : note('danger', html`The configuration store does not answer: ${sentence(store.problem ?? 'nobody knows why')} Volumes that are in step go on; nothing can be changed, and nobody takes over.`)}
      <section class="card wide" aria-labelledby="replication-nodes">
        <h2 id="replication-nodes">Nodes</h2>
        ${topology(cluster, volumes)}
        <p>
          ${
            takeover === 'automatic'
              ? state('success', 'When a node dies, another one takes over by itself.')
              : state('warning', 'Nobody takes over by itself when a node dies.')
          }
        </p>
        ${advice === null ? nothing : note('info', sentence(advice))} ${etcdShown(cluster)}
      </section>
      ${
        dying === undefined
          ? nothing
          : html`<section class="card wide" aria-labelledby="replication-forecast">
              <h2 id="replication-forecast">What if a node died now?</h2>
              ${choice(
                'Node',
                cluster.nodes.map(({ id, name, self }) => ({ value: id, label: self ? `${name} (this one)` : name })),
                dying.id,
                {
                  name: 'dying',
                  change: (id) => {
                    this.dying = id;
                  },
                },
              )}
              ${dying.role === 'data' ? forRole('operator', maintenanceButtons(dying)) : nothing}
              ${prediction(forecast(cluster, volumes, dying.id), unmirrored(volumes, dying.self))}
            </section>`
      }
      <section class="card wide" aria-labelledby="replication-volumes">
        <h2 id="replication-volumes">Volumes</h2>
        ${replicatedVolumes(cluster, volumes)} ${single(cluster, volumes)}
      </section>
      ${divergence(cluster)}`;
  }
}

/** Whether the node can be taken down, from the sessions hosts really have; and taking it out of service. */
function maintenanceButtons({ name, maintenance }: Cluster['nodes'][number]): unknown {
  const ask = (): void => {
    openForm({
      title: `Can ${name} be taken down?`,
      action: 'Look',
      steps: [
        { title: 'Look', intro: 'Every copy is looked at, and the sessions hosts have to all nodes.', fields: [] },
      ],
      submit: async () => {
        const { safe, concerns, moves } = await call('GET /cluster/nodes/{node}/reboot', { params: { node: name } });
        if (safe) {
          const which = moves.length === 0 ? '' : ` ${plural(moves.length, 'volume')} would go on at another node.`;
          return note('success', `Yes: no host would lose a disk.${which}`);
        }
        return note('danger', html`No. ${concerns.map(({ text }) => html`<div>${sentence(text)}</div>`)}`);
      },
    });
  };
  const change = (): void => {
    const on = !maintenance;
    openForm({
      title: on ? `Take ${name} out of service?` : `${name} back in service?`,
      action: on ? 'Begin maintenance' : 'End maintenance',
      steps: [
        {
          title: 'Maintenance',
          intro: on
            ? 'What it serves is handed over, and nothing is handed to it until the maintenance ends. Refused while a host would lose a disk.'
            : 'Volumes can be handed over to it again.',
          fields: [],
        },
      ],
      submit: async () => {
        const body = { on, force: false };
        const { moved } = await call('PUT /cluster/nodes/{node}/maintenance', { params: { node: name }, body });
        changed('cluster', 'replication');
        return note(
          'success',
          on ? `${name} is out of service; ${plural(moved.length, 'volume')} handed over.` : `${name} is in service.`,
        );
      },
    });
  };
  return html`<p class="actions">
    ${maintenance ? state('warning', 'in maintenance') : nothing} ${button('Safe to reboot?', ask, { kind: 'flat' })}
    ${button(maintenance ? 'End maintenance' : 'Begin maintenance', change, { kind: 'flat' })}
  </p>`;
}

/** Volumes that are on this node only. Of other nodes nobody here knows them. */
function unmirrored(volumes: readonly Replication[], self: boolean): readonly Volume[] {
  const mirrored = new Set(volumes.map(({ volume }) => volume));
  return self ? (data.volumes.value ?? []).filter(({ name }) => !mirrored.has(name)) : [];
}

/** Volumes nobody mirrors, wherever they are, with what can be done about it. */
function single(cluster: Cluster, volumes: readonly Replication[]): unknown {
  const mirrored = new Set(volumes.map(({ volume }) => volume));
  const only = (data.volumes.value ?? []).filter(({ name, nodes }) => nodes.length === 1 && !mirrored.has(name));
  if (only.length === 0) return nothing;
  return html`<h3>One copy only</h3>
    <ul class="plain">
      ${only.map(({ name, nodes }) => {
        const at = nodes.map((id) => cluster.nodes.find((each) => each.id === id)?.name ?? id).join();
        const replicas = nodes.map((node) => ({ node }));
        return html`<li>
          <a href=${linkTo('volumes', name)}>${name}</a>, on ${at}
          ${forRole('operator', copiesButton(cluster, { volume: name, inSync: nodes, replicas }))}
        </li>`;
      })}
    </ul>`;
}

const some = (names: readonly string[]): unknown =>
  html`${names.slice(0, 5).map((name, i) => html`${i > 0 ? ', ' : ''}<a href=${linkTo('volumes', name)}>${name}</a>`)}${names.length > 5 ? ` and ${names.length - 5} more` : ''}`;

function prediction({ goOn, stop, lessSafe }: Forecast, only: readonly Volume[]): unknown {
  const reasons = new Map<string, string[]>();
  for (const { volume, why } of stop) reasons.set(why, [...(reasons.get(why) ?? []), volume]);
  const nothingHappens = goOn.length + stop.length + lessSafe.length + only.length === 0;
  return html`${nothingHappens ? note('info', 'No host would notice: it has no volume.') : nothing}
  ${goOn.length === 0 ? nothing : note('success', html`${plural(goOn.length, 'volume')} would go on at another node, after a pause of some seconds: ${some(goOn)}.`)}
  ${[...reasons].map(([why, names]) => note('danger', html`${plural(names.length, 'volume')} would stop, because ${why}: ${some(names)}.`))}
  ${only.length === 0 ? nothing : note('danger', html`${plural(only.length, 'volume')} would stop, because no other node has ${only.length === 1 ? 'it' : 'them'}: ${some(only.map(({ name }) => name))}.`)}
  ${lessSafe.length === 0 ? nothing : note('info', html`${plural(lessSafe.length, 'volume')} would go on where ${lessSafe.length === 1 ? 'it is' : 'they are'}, with one copy less: ${some(lessSafe)}.`)}`;
}

/** After a blackout: what copies had differently, and by what was chosen between them. */
function divergence(cluster: Cluster): unknown {
  const nameOf = (id: string): string =>
    id === '' ? 'nobody' : (cluster.nodes.find((each) => each.id === id)?.name ?? id);
  const reports = data.divergence.value ?? [];
  return html`<section class="card wide" aria-labelledby="replication-divergence">
    <h2 id="replication-divergence">Divergence</h2>
    ${
      reports.length === 0
        ? html`<p class="muted">Nobody had to choose between two states of a volume.</p>`
        : reports.map(({ volume, cause, by, owner, epoch, time, before, copies, blockSize }) =>
            note(
              copies.some((copy) => copy.bytes > 0) ? 'warning' : 'info',
              html`<a href=${linkTo('volumes', volume)}>${volume}</a>, ${when(time)}:
                ${cause === 'promoted' ? html`${by ?? 'somebody'} has made the copy of ${nameOf(owner)} the one that counts` : html`all copies were down; ${nameOf(owner)}, its last owner, began anew`}
                (epoch ${epoch}). The record said then: owner ${nameOf(before.owner)}, epoch ${before.epoch}, session
                ${before.session}, in step ${before.inSync.map(nameOf).join(', ')}.
                ${copies.map(
                  ({ node, complete, bytes: different, ranges }) =>
                    html`<div>
                      ${nameOf(node)}:
                      ${different === 0 ? 'nothing was different' : `${bytes(different)} were different`}${complete ? '' : ' so far; not all is compared'}.
                      ${
                        different === 0
                          ? nothing
                          : html`<span class="muted"
                              >LBA+blocks of ${blockSize} bytes:
                              ${ranges
                                .slice(0, 8)
                                .map((range) => range.join('+'))
                                .join(', ')}${ranges.length > 8 ? ` and ${ranges.length - 8} more` : ''}</span
                            >`
                      }
                    </div>`,
                )}`,
            ),
          )
    }
  </section>`;
}

function alone(): unknown {
  const volumes = data.volumes.value ?? [];
  const volatile = volumes.filter(({ durability }) => durability === 'volatile');
  return html`<section class="card wide" aria-labelledby="replication-alone">
      <h2 id="replication-alone">This node is alone</h2>
      <p>What is acknowledged is on stable media of <b>this</b> node only: keep backups elsewhere.</p>
      <h3>What if it died now?</h3>
      ${
        volumes.length === 0
          ? note('info', 'No host would notice: there is no volume.')
          : note(
              'warning',
              html`${plural(volumes.length, 'volume')} would stop until it is back:
              ${some(volumes.map(({ name }) => name))}.
              ${volatile.length === 0 ? 'What was acknowledged is there then, as long as its disks are.' : html`What was written last to ${some(volatile.map(({ name }) => name))} would be lost (volatile).`}`,
            )
      }
    </section>
    <section class="card wide" aria-labelledby="replication-begin">
      <h2 id="replication-begin">Make a cluster</h2>
      <p>
        Volumes then lie on two or three nodes, and another node takes over when one dies. Initiators are interrupted
        for some seconds at the first step.
      </p>
      <ol class="steps">
        <li>
          <h3>Here</h3>
          <p>
            Begin, with the address by which the other nodes reach this one. It prints a token.<br />
            ${copyable('gemel cluster init --address HOST:PORT', 'the first command')}
          </p>
        </li>
        <li>
          <h3>On the second node, which has no volumes yet</h3>
          <p>
            Join, with the token in a file.<br />
            ${copyable('gemel cluster join --token-of-cluster FILE --address HOST:PORT', 'the second command')}
          </p>
        </li>
        <li>
          <h3>On any third machine</h3>
          <p>
            A witness: two nodes alone cannot tell a dead peer from a cut cable, so without a third vote nobody takes
            over by itself. <code>gemel cluster token</code> makes another token.<br />
            ${copyable('gemel witness --folder FOLDER --token-of-cluster FILE --address HOST:PORT', 'the third command')}
          </p>
        </li>
      </ol>
    </section>`;
}

/** Of an etcd that was there already: its members. */
function etcdShown({ store: { external } }: Cluster): unknown {
  if (external === null) return nothing;
  return html`<h3>etcd, looked after elsewhere</h3>
    <ul>
      ${external.members.map(({ address, problem, version, leader }) =>
        problem === null
          ? html`<li>${state('success', address)} ${version}${leader ? ', leader' : ''}</li>`
          : html`<li>${state('danger', address)} ${sentence(problem)}</li>`,
      )}
    </ul>
    <p>The records of the cluster begin with <code>${external.prefix}</code>.</p>`;
}

customElements.define('gemel-replication', ReplicationPage);
