import { html, nothing } from 'lit';
import { data } from '../api/data.ts';
import type { Snapshot, Volume } from '../api/data.ts';
import { pointsOf } from '../api/series.ts';
import { activityPlots } from '../parts/activity.ts';
import { copyable } from '../parts/copy.ts';
import { bytes, count, latency, percent, plural, rate, when } from '../parts/format.ts';
import { offloadMeter } from '../parts/offload.ts';
import { subject, subjectText } from '../parts/subjects.ts';
import { table } from '../parts/table.ts';
import type { Column } from '../parts/table.ts';
import { View, button, empty, meter, note, pageHead, sentence, shown, state } from '../parts/view.ts';
import { linkTo } from '../router.ts';
import { forRole } from '../session.ts';
import { deletedVolumes } from './deleted-volumes.ts';
import { schedulesOf } from './schedules.ts';
import { clone, grow, map, remove, removeSnapshot, reopen, rollBack, takeSnapshot, unmap } from './volume-actions.ts';
import { createVolume } from './volume-wizard.ts';

const columns: Column<Volume>[] = [
  {
    label: 'Name',
    sort: ({ name }) => name,
    cell: ({ name }) => html`<a href=${linkTo('volumes', name)}>${name}</a>`,
  },
  { label: 'State', sort: ({ state }) => state, cell: stateOf },
  { label: 'Size', numeric: true, sort: ({ size }) => size, cell: ({ size }) => bytes(size) },
  {
    label: 'In use',
    numeric: true,
    sort: ({ allocatedBytes }) => allocatedBytes ?? 0,
    cell: ({ allocatedBytes }) => (allocatedBytes === null ? '–' : bytes(allocatedBytes)),
  },
  { label: 'Where', sort: ({ pool, kind }) => pool ?? kind, cell: ({ pool, kind }) => pool ?? kind },
  { label: 'Hosts', numeric: true, sort: ({ maps }) => maps.length, cell: ({ maps }) => maps.length },
  { label: 'Sessions', numeric: true, sort: ({ sessions }) => sessions, cell: ({ sessions }) => sessions },
  { label: 'Snapshots', numeric: true, sort: ({ snapshots }) => snapshots, cell: ({ snapshots }) => snapshots },
  { label: 'Now', numeric: true, cell: ({ name }) => now(name) },
];

function stateOf({ state: is, maps }: Volume): unknown {
  if (is === 'failed') return state('danger', 'failed');
  if (is === 'elsewhere') return state('neutral', 'on another node');
  return maps.length === 0 ? state('neutral', 'not mapped') : state('success', 'online');
}

function now(volume: string): string {
  const point = pointsOf(volume).at(-1);
  return point === undefined ? '–' : rate(point.read + point.written);
}

const act = (...args: Parameters<typeof button>): unknown => forRole('operator', button(...args));

class Volumes extends View {
  static override properties = { name: {} };
  declare name: string | undefined;

  constructor() {
    super();
    this.watch(
      data.volumes,
      data.deletedVolumes,
      data.pools,
      data.hosts,
      data.hostGroups,
      data.cluster,
      data.snapshots,
      data.stats,
      data.offload,
      data.findings,
      data.schedules,
      data.policies,
    );
  }

  override render(): unknown {
    return this.name === undefined ? this.#list() : this.#one(this.name);
  }

  #list(): unknown {
    const create = act('Create a volume', createVolume, { kind: 'solid', icon: 'plus' });
    return html`${pageHead('Volumes', 'Disks that hosts see over iSCSI.', create)}
    ${shown(data.volumes, (volumes) =>
      volumes.length === 0
        ? empty(
            'hard-drive',
            'No volumes yet',
            'Create the first one: it takes a name, a size and the hosts that may use it.',
            create,
          )
        : table('Volumes', volumes, columns, ({ name, pool, naa, maps }) =>
            [name, pool ?? '', naa, ...maps.map(({ initiator }) => initiator)].join(' '),
          ),
    )}
    ${deletedVolumes()}`;
  }

  #one(name: string): unknown {
    return shown(data.volumes, (volumes) => {
      const volume = volumes.find((each) => each.name === name);
      if (volume === undefined) {
        return html`${pageHead(name, html`<a href=${linkTo('volumes')}>All volumes</a>`)}
        ${empty('hard-drive', 'There is no such volume', `Nothing is called ${name} (any more).`)}`;
      }
      const snapshots = (data.snapshots.value ?? []).filter((each) => each.volume === name);
      const pooled = volume.pool !== null;
      return html`${pageHead(
          name,
          html`<a href=${linkTo('volumes')}>All volumes</a>`,
          html`${act(
            'Map',
            () => {
              map(volume);
            },
            { kind: 'solid' },
          )}
          ${act('Grow', () => {
            grow(volume);
          })}
          ${
            pooled
              ? act('Snapshot', () => {
                  takeSnapshot(volume);
                })
              : nothing
          }
          ${
            pooled
              ? act('Clone', () => {
                  clone(volume, snapshots);
                })
              : nothing
          }
          ${act(
            'Delete',
            () => {
              remove(volume);
            },
            { danger: true },
          )}`,
        )}
        ${
          volume.state === 'failed'
            ? note(
                'danger',
                html`${sentence(volume.problem ?? 'It is not served')}
                ${act('Open it again', () => void reopen(volume))}`,
              )
            : nothing
        }
        ${volume.state === 'elsewhere' ? note('info', sentence(volume.problem ?? 'It is on another node')) : nothing}
        <div class="cards">${facts(volume)} ${usage(volume)} ${access(volume)}</div>
        <section class="card wide" aria-labelledby="volume-activity">
          <h2 id="volume-activity">Activity</h2>
          ${activityPlots(name)} ${lifetime(name)}
        </section>
        <section class="card wide" aria-labelledby="volume-offload">
          <h2 id="volume-offload">Offload truth meter</h2>
          ${offloadMeter(name)}
        </section>
        <section class="card wide" aria-labelledby="volume-snapshots">
          <h2 id="volume-snapshots">Snapshots</h2>
          ${snapshotTable(volume, snapshots)} ${pooled ? schedulesOf(name) : nothing}
        </section>`;
    });
  }
}

function facts(volume: Volume): unknown {
  return html`<section class="card" aria-labelledby="volume-facts">
    <h2 id="volume-facts">What it is</h2>
    <dl class="facts">
      <dt>State</dt>
      <dd>${stateOf(volume)}</dd>
      <dt>Target</dt>
      <dd>${copyable(volume.iqn, 'target name')}</dd>
      <dt>LUN</dt>
      <dd>${volume.lun}</dd>
      <dt>NAA</dt>
      <dd>${copyable(volume.naa, 'NAA identifier')}</dd>
      <dt>Serial</dt>
      <dd>${copyable(volume.serial, 'serial number')}</dd>
      <dt>Blocks</dt>
      <dd>${volume.blockSize} bytes, physical ${volume.physicalBlockSize}</dd>
      <dt>Created</dt>
      <dd>${when(volume.created)}</dd>
    </dl>
  </section>`;
}

function usage(volume: Volume): unknown {
  const used = volume.allocatedBytes ?? 0;
  const share = volume.size === 0 ? 0 : used / volume.size;
  return html`<section class="card" aria-labelledby="volume-usage">
    <h2 id="volume-usage">Space</h2>
    <div class="capacity">
      <div class="line"><span>${bytes(used)} of ${bytes(volume.size)}</span><span>${percent(share)}</span></div>
      ${meter(share, `${percent(share)} of the volume holds data`, 2)}
    </div>
    <dl class="facts">
      <dt>Where</dt>
      <dd>
        ${
          volume.pool === null
            ? html`${volume.kind}${volume.path === null ? '' : `: ${volume.path}`}`
            : html`pool <a href=${linkTo('pools', volume.pool)}>${volume.pool}</a>`
        }
      </dd>
      <dt>Provisioning</dt>
      <dd>${volume.thin ? 'thin' : 'thick'}</dd>
      <dt>Acknowledged</dt>
      <dd>
        ${
          volume.durability === 'volatile'
            ? html`${state('warning', 'volatile')} lost at a power failure`
            : 'when on stable media'
        }
      </dd>
      <dt>Snapshots</dt>
      <dd>${volume.snapshots}</dd>
    </dl>
  </section>`;
}

function access(volume: Volume): unknown {
  return html`<section class="card" aria-labelledby="volume-access">
    <h2 id="volume-access">Who may use it</h2>
    ${
      volume.maps.length === 0
        ? html`<p class="muted">Nobody yet: map it to a host, then rescan there.</p>`
        : html`<ul class="rows">
            ${volume.maps.map(
              ({ initiator, access: may }) =>
                html`<li>
                  <span class="grow">${subject(initiator)} <span class="muted">${may}</span></span>
                  ${forRole(
                    'operator',
                    html`<button
                      type="button"
                      class="plain"
                      aria-label=${`Unmap ${subjectText(initiator)}`}
                      title="Unmap"
                      @click=${() => {
                        unmap(volume, initiator);
                      }}
                    >
                      <cds-icon shape="times"></cds-icon>
                    </button>`,
                  )}
                </li>`,
            )}
          </ul>`
    }
    <p class="muted">${plural(volume.sessions, 'session')} now. <a href=${linkTo('connect')}>How hosts connect</a></p>
  </section>`;
}

function lifetime(name: string): unknown {
  const stats = data.stats.value?.find((each) => each.name === name);
  if (stats === undefined) return nothing;
  return html`<p class="muted">
    Since the daemon started: ${count(stats.reads)} reads (${bytes(stats.readBytes)}), ${count(stats.writes)} writes
    (${bytes(stats.writtenBytes)}), ${count(stats.errors)} ended with CHECK CONDITION, ${count(stats.conflicts)} with a
    reservation conflict. ${stats.reads === 0 ? nothing : `99 % of reads within ${latency(stats.readLatency.p99)}.`}
    ${stats.writes === 0 ? nothing : `99 % of writes within ${latency(stats.writeLatency.p99)}.`}
  </p>`;
}

function snapshotTable(volume: Volume, snapshots: readonly Snapshot[]): unknown {
  if (volume.pool === null) return html`<p class="muted">Only volumes of a pool have snapshots.</p>`;
  if (snapshots.length === 0)
    return html`<p class="muted">None yet. A snapshot costs nothing until something changes.</p>`;
  return table('Snapshots', snapshots, [
    { label: 'Name', sort: ({ name }) => name, cell: ({ name }) => name },
    { label: 'Taken', sort: ({ created }) => created, cell: ({ created }) => when(created) },
    { label: 'State', cell: (each) => state(each.state === 'ready' ? 'success' : 'info', each.state) },
    { label: 'Size', numeric: true, cell: ({ size }) => bytes(size) },
    {
      label: 'Actions',
      cell: (snapshot) =>
        html`<span class="actions">
          ${act(
            'Clone',
            () => {
              clone(volume, snapshots, snapshot);
            },
            { kind: 'flat' },
          )}
          ${act(
            'Roll back',
            () => {
              rollBack(snapshot);
            },
            { kind: 'flat' },
          )}
          ${act(
            'Delete',
            () => {
              removeSnapshot(snapshot);
            },
            { kind: 'flat', danger: true },
          )}
        </span>`,
    },
  ]);
}

customElements.define('gemel-volumes', Volumes);
