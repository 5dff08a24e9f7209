// The wizard that creates a volume: what, where, for whom.
import { html, nothing } from 'lit';
import { call } from '../api/client.ts';
import type { Item } from '../api/client.ts';
import { changed, data } from '../api/data.ts';
import { bytes, plural } from '../parts/format.ts';
import { openForm } from '../parts/form.ts';
import type { Choice, Field, Values } from '../parts/form.ts';
import { subjectText } from '../parts/subjects.ts';
import { toast } from '../parts/toast.ts';
import { go } from '../router.ts';
import { checkName, mapFields, mapsOf } from './access-fields.ts';

type Policy = Item<'GET /policies'>;

export function createVolume(): void {
  // Where they have not arrived yet, a file would be what is offered first, and no policy.
  const missing = [data.pools, data.policies].filter(({ value }) => value === undefined);
  if (missing.length === 0) openWizard();
  else void Promise.all(missing.map((source) => source.refresh())).then(openWizard);
}

function openWizard(): void {
  const pools = (data.pools.value ?? []).filter((pool) => pool.state === 'online');
  const free = (name: string): number => {
    const facts = pools.find((pool) => pool.name === name)?.facts;
    return facts === null || facts === undefined ? 0 : facts.capacityBytes - facts.usedBytes - facts.reservedBytes;
  };
  const places: Choice[] = [
    ...[...pools]
      .sort((a, b) => Number(b.default) - Number(a.default))
      .map(({ name }) => ({ value: `pool:${name}`, label: `Pool ${name}, ${bytes(free(name))} free` })),
    { value: 'file', label: 'A file in the data folder (no snapshots)' },
    { value: 'memory', label: 'Memory (gone at the next start; labs)' },
  ];
  const nodes = (data.cluster.value?.nodes ?? []).filter(({ role }) => role === 'data');
  const policies = data.policies.value ?? [];
  // What is in memory is in no need of being kept: of a policy it has the name alone.
  const said = (values: Values): Partial<Policy> =>
    values.text('place') === 'memory' ? {} : (policies.find(({ name }) => name === values.text('policy')) ?? {});
  const durabilityIn = (values: Values): string => said(values).durability ?? values.text('durability');
  const thinIn = (values: Values): boolean => said(values).thin ?? values.flag('thin');
  openForm({
    title: 'Create a volume',
    action: 'Create',
    steps: [
      {
        title: 'Volume',
        fields: [
          {
            name: 'name',
            label: 'Name',
            type: 'text',
            required: true,
            help: 'Hosts do not see it; they know the volume by its NAA identifier.',
            check: (text) =>
              checkName(text) ??
              (data.volumes.value?.some((volume) => volume.name === text) === true ? 'This name is taken.' : undefined),
          },
          { name: 'size', label: 'Size', type: 'size', value: '100 GiB', required: true, help: 'It can grow later.' },
          { name: 'place', label: 'Where', type: 'select', choices: places },
        ],
      },
      {
        title: 'Behaviour',
        summary: (values) => policyText(said(values)),
        fields: [
          ...policyField(policies),
          {
            name: 'thin',
            label: 'Thin: takes room only for what is written',
            type: 'checkbox',
            value: true,
            when: (values) => values.text('place') !== 'memory' && unsaid(said(values).thin),
          },
          {
            name: 'durability',
            label: 'A write is acknowledged when it is',
            type: 'select',
            when: (values) => unsaid(said(values).durability),
            choices: [
              { value: 'durable', label: 'on stable media (safe for hypervisors)' },
              ...(nodes.length < 2
                ? []
                : [{ value: 'mirrored-ram', label: 'in the memory of two nodes (hosts that flush; faster)' }]),
              { value: 'volatile', label: 'in memory (labs: lost at a power failure)' },
            ],
          },
          ...(nodes.length < 2
            ? []
            : [
                {
                  name: 'replicas',
                  label: 'Copies, on as many nodes',
                  type: 'select' as const,
                  value: '2',
                  when: (values: Values) => unsaid(said(values).replicas),
                  choices: ['1', '2', '3']
                    .slice(0, nodes.length)
                    .map((count) => ({ value: count, label: count === '1' ? '1 (on this node only)' : count })),
                  check: (text: string, values: Values) =>
                    text === '1' && durabilityIn(values) === 'mirrored-ram'
                      ? 'The memory of two nodes takes two copies.'
                      : undefined,
                },
              ]),
          {
            name: 'blockSize',
            label: 'Logical block size',
            type: 'select',
            choices: [
              { value: '512', label: '512 bytes (ESXi, Hyper-V, everything)' },
              { value: '4096', label: '4096 bytes (4Kn)' },
            ],
          },
        ],
      },
      { title: 'Access', fields: mapFields() },
      {
        title: 'Summary',
        summary: (values) =>
          html`<dl class="facts">
            <dt>Name</dt>
            <dd>${values.text('name')}</dd>
            <dt>Size</dt>
            <dd>${bytes(values.size('size') ?? 0)}, ${thinIn(values) ? 'thin' : 'thick'}</dd>
            <dt>Where</dt>
            <dd>${places.find((place) => place.value === values.text('place'))?.label}</dd>
            <dt>Writes</dt>
            <dd>${durabilityIn(values)}</dd>
            ${
              policies.length === 0
                ? nothing
                : html`<dt>Policy</dt>
                    <dd>${values.text('policy') === '' ? 'none' : values.text('policy')}</dd>`
            }
            <dt>For</dt>
            <dd>
              ${mapsOf(values).map(({ initiator, access }) => html`<div>${subjectText(initiator)}${access === 'read-only' ? ', may only read' : ''}</div>`)}${mapsOf(values).length === 0 ? 'nobody yet' : ''}
            </dd>
          </dl>`,
      },
    ],
    submit: async (values) => {
      const place = values.text('place');
      const name = values.text('name');
      await call('POST /volumes', {
        body: {
          name,
          size: values.size('size') ?? 0,
          blockSize: values.text('blockSize') === '4096' ? 4096 : 512,
          // What the policy says is not said again: the daemon takes it from there.
          ...(policies.length === 0 ? {} : { policy: values.text('policy') === '' ? null : values.text('policy') }),
          ...(place === 'memory' || !unsaid(said(values).thin) ? {} : { thin: values.flag('thin') }),
          ...(place === 'memory' ? { durability: 'volatile' } : {}),
          ...(place === 'memory' || !unsaid(said(values).durability)
            ? {}
            : { durability: durabilityOf(values.text('durability')) }),
          ...(nodes.length < 2 || !unsaid(said(values).replicas) ? {} : { replicas: Number(values.text('replicas')) }),
          ...(place.startsWith('pool:') ? { pool: place.slice(5) } : { kind: place === 'memory' ? 'memory' : 'file' }),
          maps: mapsOf(values),
        },
      });
      changed('volumes', 'pools', 'status', 'targets');
      toast('success', `Volume ${name} is served`);
      go('volumes', name);
    },
  });
}

const unsaid = (setting: unknown): boolean => setting === undefined || setting === null;

/** Where there are any; the default one is what is chosen. */
function policyField(policies: readonly Policy[]): Field[] {
  if (policies.length === 0) return [];
  const choices = policies.map(({ name, isDefault }) => ({
    value: name,
    label: isDefault ? `${name} (default)` : name,
  }));
  return [
    {
      ...{ name: 'policy', label: 'Policy', type: 'select' },
      value: policies.find(({ isDefault }) => isDefault)?.name ?? '',
      choices: [{ value: '', label: 'None' }, ...choices],
      help: 'What it says is not asked for here.',
    },
  ];
}

/** What a policy says of a new volume. */
function policyText({ name, durability, replicas, thin }: Partial<Policy>): unknown {
  const parts = [
    ...(unsaid(thin) ? [] : [thin === true ? 'thin' : 'thick']),
    ...(unsaid(durability) ? [] : [durability ?? '']),
    ...(typeof replicas === 'number' ? [plural(replicas, 'copy', 'copies')] : []),
  ];
  return name === undefined || parts.length === 0
    ? nothing
    : html`<p class="muted">The policy ${name} says: ${parts.join(', ')}.</p>`;
}

const durabilityOf = (text: string): 'durable' | 'mirrored-ram' | 'volatile' =>
  text === 'volatile' || text === 'mirrored-ram' ? text : 'durable';
