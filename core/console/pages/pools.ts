import { html, nothing } from 'lit';
import { call } from '../api/client.ts';
import { changed, data } from '../api/data.ts';
import type { Pool } from '../api/data.ts';
import { bytes, duration, percent, plural, when } from '../parts/format.ts';
import { openForm } from '../parts/form.ts';
import { table } from '../parts/table.ts';
import { toast, toastProblem } from '../parts/toast.ts';
import { View, button, empty, meter, note, pageHead, sentence, shown, state } from '../parts/view.ts';
import { go, linkTo } from '../router.ts';
import { forRole } from '../session.ts';
import { fullIn } from './overview.ts';
import { checkName } from './access-fields.ts';

const act = (...args: Parameters<typeof button>): unknown => forRole('admin', button(...args));
const operate = (...args: Parameters<typeof button>): unknown => forRole('operator', button(...args));

class Pools extends View {
  static override properties = { name: {} };
  declare name: string | undefined;

  constructor() {
    super();
    this.watch(data.pools, data.capacity, data.volumes);
  }

  override render(): unknown {
    return this.name === undefined ? this.#list() : this.#one(this.name);
  }

  #list(): unknown {
    const create = act('Create a pool', createPool, { kind: 'solid', icon: 'plus' });
    return html`${pageHead('Pools', 'Where volumes take their room from.', create)}
    ${shown(data.pools, (pools) =>
      pools.length === 0
        ? empty(
            'hard-drive-disks',
            'No pools yet',
            'A pool is a folder or a disk that gives room to volumes, snapshots and clones.',
            create,
          )
        : table(
            'Pools',
            pools,
            [
              {
                label: 'Name',
                sort: ({ name }) => name,
                cell: ({ name }) => html`<a href=${linkTo('pools', name)}>${name}</a>`,
              },
              { label: 'State', sort: (pool) => pool.state, cell: stateOf },
              {
                label: 'Capacity',
                numeric: true,
                sort: ({ facts }) => facts?.capacityBytes ?? 0,
                cell: ({ facts }) => (facts === null ? '–' : bytes(facts.capacityBytes)),
              },
              {
                label: 'In use',
                sort: shareOf,
                cell: (pool) =>
                  pool.facts === null
                    ? '–'
                    : html`<span class="inline-meter"
                        >${meter(shareOf(pool), `${percent(shareOf(pool))} in use`, pool.threshold / 100)}
                        ${percent(shareOf(pool))}</span
                      >`,
              },
              { label: 'Volumes', numeric: true, sort: ({ volumes }) => volumes, cell: ({ volumes }) => volumes },
              {
                label: 'Snapshots',
                numeric: true,
                sort: ({ snapshots }) => snapshots,
                cell: ({ snapshots }) => snapshots,
              },
              { label: 'Where', cell: ({ path }) => path },
            ],
            ({ name, path }) => `${name} ${path}`,
          ),
    )}`;
  }

  #one(name: string): unknown {
    return shown(data.pools, (pools) => {
      const pool = pools.find((each) => each.name === name);
      if (pool === undefined) {
        return html`${pageHead(name, html`<a href=${linkTo('pools')}>All pools</a>`)}
        ${empty('hard-drive-disks', 'There is no such pool', `Nothing is called ${name} (any more).`)}`;
      }
      const online = pool.facts !== null;
      const scrubbing = pool.scrub?.state === 'running';
      return html`${pageHead(
        name,
        html`<a href=${linkTo('pools')}>All pools</a>`,
        online
          ? html`${act(
              'Add room',
              () => {
                addRoom(pool);
              },
              { kind: 'solid' },
            )}
            ${act('Threshold', () => {
              setThreshold(pool);
            })}
            ${operate(scrubbing ? 'Stop the scrub' : 'Scrub', () => void scrub(pool))}
            ${operate('Check', () => void check(pool), { disabled: pool.checking !== null })}
            ${pool.default ? nothing : act('Make default', () => void makeDefault(pool))}
            ${act(
              'Delete',
              () => {
                removePool(pool);
              },
              { danger: true },
            )}`
          : nothing,
      )}
      ${pool.problem === null ? nothing : note('danger', sentence(pool.problem))}
      ${pool.damagedMaps.map((each) => note('danger', `Its map is damaged, so it is not served: ${each}`))}
      ${pool.facts === null ? nothing : details(pool, pool.facts)}`;
    });
  }
}

const shareOf = ({ facts }: Pool): number => (facts === null ? 0 : facts.usedBytes / facts.capacityBytes);

function stateOf(pool: Pool): unknown {
  if (pool.state === 'failed') return state('danger', 'failed');
  const word = pool.thresholdReached ? state('warning', 'filling up') : state('success', 'online');
  return html`${word}${pool.default ? html` <span class="muted">default</span>` : nothing}`;
}

function details(pool: Pool, facts: NonNullable<Pool['facts']>): unknown {
  const volumes = (data.volumes.value ?? []).filter((volume) => volume.pool === pool.name);
  return html`<div class="cards">
      <section class="card" aria-labelledby="pool-capacity">
        <h2 id="pool-capacity">Capacity</h2>
        <div class="capacity">
          <div class="line">
            <span>${bytes(facts.usedBytes)} of ${bytes(facts.capacityBytes)}</span
            ><span>${percent(shareOf(pool))}</span>
          </div>
          ${meter(shareOf(pool), `${percent(shareOf(pool))} in use`, pool.threshold / 100)}
          <div class="muted">${fullIn(pool.name)}</div>
        </div>
        <dl class="facts">
          <dt>Promised</dt>
          <dd>${bytes(facts.reservedBytes)} <span class="muted">to thick volumes and running writes</span></dd>
          <dt>Coming back</dt>
          <dd>${bytes(facts.quarantinedBytes)} <span class="muted">after the next checkpoint</span></dd>
          <dt>Told at</dt>
          <dd>${pool.threshold} % <span class="muted">hosts are warned</span></dd>
        </dl>
      </section>
      <section class="card" aria-labelledby="pool-work">
        <h2 id="pool-work">Inside</h2>
        <dl class="facts">
          <dt>Journal</dt>
          <dd>${bytes(facts.journalUsedBytes)} of ${bytes(facts.journalBytes)} waiting</dd>
          <dt>Checkpoints</dt>
          <dd>${facts.checkpoints}</dd>
          <dt>Checksum errors</dt>
          <dd>${facts.damagedBlocks === 0 ? 'none' : state('danger', plural(facts.damagedBlocks, 'read'))}</dd>
          <dt>Copy tokens</dt>
          <dd>${facts.tokens === 0 ? 'none' : `${facts.tokens}, holding ${bytes(facts.tokenBytes)}`}</dd>
          <dt>Given back</dt>
          <dd>${bytes(facts.reclaimedBytes)} <span class="muted">to the disks</span></dd>
          <dt>Created</dt>
          <dd>${when(pool.created)}</dd>
        </dl>
      </section>
      <section class="card" aria-labelledby="pool-scrub">
        <h2 id="pool-scrub">Care</h2>
        ${scrubState(pool)} ${pool.checking === null ? nothing : progress('Check', pool.checking)}
        ${pool.deletions.map((each) => progress(`Deleting ${each.name}`, each.progress))}
      </section>
    </div>
    <section class="card wide" aria-labelledby="pool-parts">
      <h2 id="pool-parts">Folders and disks</h2>
      ${table('Parts', pool.parts, [
        { label: 'Path', cell: ({ path }) => html`<code>${path}</code>` },
        { label: 'Kind', cell: ({ kind }) => kind },
        { label: 'Room for data', numeric: true, cell: (part) => bytes(part.bytes) },
      ])}
    </section>
    <section class="card wide" aria-labelledby="pool-volumes">
      <h2 id="pool-volumes">Volumes</h2>
      ${
        volumes.length === 0
          ? html`<p class="muted">None.</p>`
          : table('Volumes of the pool', volumes, [
              {
                label: 'Name',
                sort: ({ name }) => name,
                cell: ({ name }) => html`<a href=${linkTo('volumes', name)}>${name}</a>`,
              },
              { label: 'Size', numeric: true, sort: ({ size }) => size, cell: ({ size }) => bytes(size) },
              {
                label: 'In use',
                numeric: true,
                sort: (volume) => volume.allocatedBytes ?? 0,
                cell: (volume) => bytes(volume.allocatedBytes ?? 0),
              },
            ])
      }
    </section>`;
}

export function progress(label: string, share: number): unknown {
  return html`<div class="progress">
    <div class="line"><span>${label}</span><span>${percent(share)}</span></div>
    <progress max="1" .value=${share} aria-label=${label}></progress>
  </div>`;
}

const SCRUBBED = { done: 'complete', aborted: 'stopped before its end', failed: 'failed' } as const;

function scrubState({ scrub: last }: Pool): unknown {
  if (last === null)
    return html`<p class="muted">
      Not scrubbed since the daemon started. A scrub reads all data and compares it with its checksums.
    </p>`;
  if (last.state === 'running') return progress('Scrub', last.totalBytes === 0 ? 0 : last.doneBytes / last.totalBytes);
  const damaged = last.damaged.map(({ volume, position, reason }) =>
    note('danger', `${volume} at ${position}: ${reason}`),
  );
  return html`<p>
      Last scrub: ${SCRUBBED[last.state]}, begun ${when(last.started)}; ${plural(last.damaged.length, 'damaged place')}.
    </p>
    ${damaged}`;
}

function createPool(): void {
  openForm({
    title: 'Create a pool',
    action: 'Create',
    steps: [
      {
        title: 'Pool',
        fields: [
          { name: 'name', label: 'Name', type: 'text', required: true, check: checkName },
          {
            name: 'place',
            label: 'Where',
            type: 'select',
            choices: [
              { value: 'data', label: 'In the data folder of the daemon' },
              { value: 'folder', label: 'In another folder' },
              { value: 'device', label: 'On a disk, which is used as a whole' },
            ],
          },
          {
            name: 'folder',
            label: 'Folder',
            type: 'text',
            required: true,
            help: 'An absolute path on the storage machine.',
            when: (values) => values.text('place') === 'folder',
          },
          {
            name: 'device',
            label: 'Disk',
            type: 'text',
            required: true,
            help: 'Like /dev/disk/by-id/…; what is on it is lost.',
            when: (values) => values.text('place') === 'device',
          },
          {
            name: 'size',
            label: 'Size',
            type: 'size',
            required: true,
            value: '100 GiB',
            help: 'Room is taken as it is needed; it can grow.',
            when: (values) => values.text('place') !== 'device',
          },
        ],
      },
    ],
    submit: async (values) => {
      const name = values.text('name');
      const place = values.text('place');
      await call('POST /pools', {
        body: {
          name,
          ...(place === 'device' ? { device: values.text('device') } : { size: values.size('size') ?? 0 }),
          ...(place === 'folder' ? { folder: values.text('folder') } : {}),
        },
      });
      changed('pools', 'capacity');
      toast('success', `Pool ${name} is there`);
      go('pools', name);
    },
  });
}

function addRoom(pool: Pool): void {
  openForm({
    title: `Add room to ${pool.name}`,
    action: 'Add',
    steps: [
      {
        title: 'Room',
        fields: [
          {
            name: 'how',
            label: 'Where from',
            type: 'select',
            choices: [
              ...(pool.kind === 'folder'
                ? [{ value: 'grow', label: 'The same folder' }]
                : [{ value: 'grown', label: 'Its disks have become larger' }]),
              { value: 'folder', label: 'Another folder' },
              { value: 'device', label: 'Another disk, which is used as a whole' },
            ],
          },
          {
            name: 'path',
            label: 'Path',
            type: 'text',
            required: true,
            when: (values) => ['folder', 'device'].includes(values.text('how')),
          },
          {
            name: 'size',
            label: 'How much',
            type: 'size',
            required: true,
            value: '100 GiB',
            when: (values) => ['grow', 'folder'].includes(values.text('how')),
          },
        ],
      },
    ],
    submit: async (values) => {
      const how = values.text('how');
      const growBytes = values.size('size') ?? 0;
      const path = values.text('path');
      const body =
        how === 'grow'
          ? { growBytes }
          : how === 'folder'
            ? { growBytes, addFolder: path }
            : how === 'device'
              ? { addDevice: path }
              : { useGrown: true as const };
      await call('PATCH /pools/{name}', { params: { name: pool.name }, body });
      changed('pools', 'capacity');
      toast('success', `${pool.name} has more room`);
    },
  });
}

function setThreshold(pool: Pool): void {
  openForm({
    title: `Threshold of ${pool.name}`,
    action: 'Set',
    steps: [
      {
        title: 'Threshold',
        intro:
          'When so much of it is in use, hosts that use thin volumes are told (THIN PROVISIONING SOFT THRESHOLD REACHED).',
        fields: [
          {
            name: 'threshold',
            label: 'Percent',
            type: 'text',
            required: true,
            value: String(pool.threshold),
            check: (text) => (/^[1-9]\d?$/.test(text) ? undefined : 'A whole number from 1 to 99.'),
          },
        ],
      },
    ],
    submit: async (values) => {
      await call('PATCH /pools/{name}', {
        params: { name: pool.name },
        body: { threshold: Number(values.text('threshold')) },
      });
      changed('pools');
    },
  });
}

function removePool(pool: Pool): void {
  openForm({
    title: `Delete ${pool.name}?`,
    action: 'Delete',
    danger: true,
    steps: [{ title: 'Delete', intro: 'Only a pool without volumes and snapshots can be deleted.' }],
    submit: async () => {
      await call('DELETE /pools/{name}', { params: { name: pool.name } });
      changed('pools', 'capacity');
      toast('success', `${pool.name} is deleted`);
      go('pools');
    },
  });
}

async function scrub({ name, scrub: last }: Pool): Promise<void> {
  try {
    if (last?.state === 'running') await call('DELETE /pools/{name}/scrub', { params: { name } });
    else {
      await call('POST /pools/{name}/scrub', { params: { name }, body: {} });
      toast('info', `Pool ${name} is being scrubbed`, 'It can be watched and stopped here and on the page Jobs.');
    }
  } catch (error) {
    toastProblem('Scrub', error);
  }
  changed('pools');
}

/** It may take long: the page goes on, and a message tells how it ended. */
async function check({ name }: Pool): Promise<void> {
  toast('info', `Checking ${name}`);
  const began = Date.now();
  try {
    const found = await call('POST /pools/{name}/check', { params: { name } });
    const took = duration((Date.now() - began) / 1000);
    if (found.findings.length === 0)
      toast('success', `${name} is consistent: ${plural(found.grains, 'grain')} counted in ${took}`);
    else toast('danger', `${name}: ${found.findings.join('; ')}`);
  } catch (error) {
    toastProblem(`The check of ${name} failed`, error);
  }
  changed('pools');
}

async function makeDefault({ name }: Pool): Promise<void> {
  try {
    await call('PATCH /pools/{name}', { params: { name }, body: { default: true } });
  } catch (error) {
    toastProblem(`${name} did not become the default`, error);
  }
  changed('pools');
}

customElements.define('gemel-pools', Pools);
