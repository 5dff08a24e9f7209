// What can be done with hosts, groups of hosts and initiators, each as a dialog.
import { html } from 'lit';
import { call } from '../api/client.ts';
import type { Ask } from '../api/client.ts';
import { changed, data } from '../api/data.ts';
import type { Host, HostGroup } from '../api/data.ts';
import { bytes, plural } from '../parts/format.ts';
import { openForm } from '../parts/form.ts';
import type { Choice, Field, Values } from '../parts/form.ts';
import { toast } from '../parts/toast.ts';
import { go } from '../router.ts';
import { checkInitiators, checkName } from './access-fields.ts';

type Profile = NonNullable<Host['profile']>;
type HostBody = Ask<'PUT /hosts/{name}'>['body'];

export const RUNS: Readonly<Record<Profile, string>> = {
  esxi: 'VMware ESXi',
  hyperv: 'Hyper-V',
  windows: 'Windows',
  kvm: 'KVM (libvirt)',
  proxmox: 'Proxmox VE',
  xen: 'XenServer or XCP-ng',
  linux: 'Linux',
  other: 'something else',
};
const isProfile = (text: string): text is Profile => text in RUNS;

const chapFields = (before: Host | undefined): Field[] => {
  const wants = (values: Values): boolean => ['one-way', 'mutual'].includes(values.text('chap'));
  const wantsMutual = (values: Values): boolean => values.text('chap') === 'mutual';
  const none = { value: 'none', label: 'Their names are enough' };
  const set: Choice[] = [
    { value: 'one-way', label: 'They prove who they are (CHAP)' },
    { value: 'mutual', label: 'Both sides prove who they are (mutual CHAP)' },
  ];
  const keep = { value: 'keep', label: 'As it is' };
  const hasChap = before !== undefined && before.chapUser !== null;
  return [
    {
      name: 'chap',
      label: 'Proof',
      type: 'select',
      choices: hasChap ? [keep, none, ...set] : [none, ...set],
      help: 'For initiators without credentials of their own.',
    },
    { name: 'user', label: 'CHAP user', type: 'text', required: true, value: before?.chapUser ?? '', when: wants },
    {
      name: 'secret',
      label: 'CHAP secret',
      type: 'password',
      required: true,
      help: '12 to 16 characters for most initiators. It is kept encrypted and cannot be read again.',
      when: wants,
    },
    {
      name: 'mutualUser',
      label: 'Our user',
      type: 'text',
      required: true,
      value: before?.mutualUser ?? '',
      when: wantsMutual,
    },
    {
      name: 'mutualSecret',
      label: 'Our secret',
      type: 'password',
      required: true,
      help: 'Another one than above.',
      when: wantsMutual,
    },
  ];
};

/** What was there and is not spoken of stays: the API keeps what is absent. */
function chapOf(values: Values): Pick<HostBody, 'chap' | 'mutual'> {
  const chap = { user: values.text('user'), secret: values.secret('secret') };
  switch (values.text('chap')) {
    case 'one-way':
      return { chap, mutual: null };
    case 'mutual':
      return { chap, mutual: { user: values.text('mutualUser'), secret: values.secret('mutualSecret') } };
    case 'none':
      return { chap: null, mutual: null };
    default:
      return {};
  }
}

/** Adds a host, or changes it. */
export function editHost(before?: Host): void {
  openForm({
    title: before === undefined ? 'Add a host' : `Change host ${before.name}`,
    action: before === undefined ? 'Add' : 'Save',
    steps: [
      {
        title: 'Host',
        fields: [
          ...(before === undefined
            ? [
                {
                  name: 'name',
                  label: 'Name',
                  type: 'text' as const,
                  required: true,
                  check: (text: string) =>
                    checkName(text) ??
                    (data.hosts.value?.some(({ name }) => name === text) === true
                      ? 'There is a host of this name.'
                      : undefined),
                },
              ]
            : []),
          {
            name: 'iqns',
            label: 'iSCSI names, one per line',
            type: 'lines',
            required: true,
            value: before?.iqns.join('\n') ?? '',
            help: 'All of its adapters. Those that are taken out lose what is mapped to the host, at once.',
            check: (_text, values) => checkInitiators(values.lines('iqns')),
          },
          {
            name: 'profile',
            label: 'What runs on it',
            type: 'select',
            value: before?.profile ?? '',
            choices: [
              { value: '', label: 'Not said' },
              ...Object.entries(RUNS).map(([value, label]) => ({ value, label })),
            ],
            help: 'For what the doctor checks and advises.',
          },
          ...chapFields(before),
        ],
      },
    ],
    submit: async (values) => {
      const name = before?.name ?? values.text('name');
      const profile = values.text('profile');
      await call('PUT /hosts/{name}', {
        params: { name },
        body: { iqns: values.lines('iqns'), profile: isProfile(profile) ? profile : null, ...chapOf(values) },
      });
      changed('hosts', 'initiators');
      toast('success', before === undefined ? `Host ${name} is known` : `Host ${name} is changed`);
    },
  });
}

export function forgetHost({ name, groups }: Host): void {
  openForm({
    title: `Forget host ${name}?`,
    action: 'Forget',
    danger: true,
    steps: [
      {
        title: 'Forget',
        intro: `Only a host to which nothing is mapped, and that is in no group, can be forgotten.${groups.length === 0 ? '' : ` It is in ${groups.join(', ')}.`}`,
      },
    ],
    submit: async () => {
      await call('DELETE /hosts/{name}', { params: { name } });
      changed('hosts');
      toast('success', `Host ${name} is forgotten`);
      go('hosts');
    },
  });
}

/** Maps volumes to a host, or a group of hosts. `who`: `host:NAME` or `group:NAME`. */
export function mapVolumes(who: string, title: string): void {
  const volumes = data.volumes.value ?? [];
  const unmapped = volumes.filter(({ maps }) => !maps.some(({ initiator }) => initiator === who));
  openForm({
    title: `Map volumes to ${title}`,
    action: 'Map',
    steps: [
      {
        title: 'Volumes',
        intro:
          unmapped.length > 0
            ? 'They are seen at the next login or rescan there.'
            : volumes.length === 0
              ? 'There is no volume yet: create one first, on the page Volumes.'
              : 'All volumes are mapped to it already.',
        fields:
          unmapped.length === 0
            ? []
            : [
                {
                  name: 'volumes',
                  label: 'Volumes',
                  type: 'several',
                  required: true,
                  choices: unmapped.map(({ name, size }) => ({ value: name, label: `${name}, ${bytes(size)}` })),
                },
                { name: 'readOnly', label: 'It may only read', type: 'checkbox' },
              ],
      },
    ],
    submit: async (values) => {
      const access = values.flag('readOnly') ? 'read-only' : 'read-write';
      const names = values.lines('volumes');
      for (const name of names) {
        await call('PUT /volumes/{name}/maps/{initiator}', { params: { name, initiator: who }, body: { access } });
        changed('volumes', 'hosts', 'initiators');
      }
      if (names.length > 0) toast('success', `${plural(names.length, 'volume')} mapped to ${title}`);
    },
  });
}

/** Makes a group of hosts, or changes its name and who is in it. */
export function editGroup(before?: HostGroup): void {
  const hosts = data.hosts.value ?? [];
  const mapped = before === undefined ? 0 : volumesOf(before).length;
  openForm({
    title: before === undefined ? 'Create a host group' : `Change group ${before.name}`,
    action: before === undefined ? 'Create' : 'Save',
    steps: [
      {
        title: 'Group',
        intro:
          'A cluster: volumes that are mapped to the group are seen by all its hosts, also by those that join later.',
        fields: [
          {
            name: 'name',
            label: 'Name',
            type: 'text',
            required: true,
            value: before?.name ?? '',
            check: (text) =>
              checkName(text) ??
              (text !== before?.name && data.hostGroups.value?.some(({ name }) => name === text) === true
                ? 'There is a group of this name.'
                : undefined),
          },
          {
            name: 'hosts',
            label: 'Hosts',
            type: 'several',
            value: before?.hosts.join('\n') ?? '',
            choices: hosts.map(({ name, iqns }) => ({
              value: name,
              label: `${name}, ${plural(iqns.length, 'initiator')}`,
            })),
            help:
              mapped === 0
                ? ''
                : `${plural(mapped, 'volume is', 'volumes are')} mapped to the group: a host that is taken out does not see ${mapped === 1 ? 'it' : 'them'} any more, at once.`,
          },
        ],
      },
    ],
    submit: async (values) => {
      const name = values.text('name');
      await call('PUT /host-groups/{name}', { params: { name }, body: { hosts: values.lines('hosts') } });
      if (before !== undefined && name !== before.name) await moveMaps(before, name);
      changed('hostGroups', 'hosts', 'volumes');
      toast('success', before === undefined ? `Group ${name} is there` : `Group ${name} is changed`);
    },
  });
}

const volumesOf = ({ name }: HostGroup) =>
  (data.volumes.value ?? []).filter(({ maps }) => maps.some(({ initiator }) => initiator === `group:${name}`));

/**
 * Another name is another group: volumes are mapped to it before they are taken from the old one, so no host loses them on the
 * way. What fails in between leaves both groups, and the same dialog goes on from there.
 */
async function moveMaps(from: HostGroup, to: string): Promise<void> {
  await data.volumes.refresh();
  for (const { name, maps } of volumesOf(from)) {
    const access = maps.find(({ initiator }) => initiator === `group:${from.name}`)?.access ?? 'read-write';
    await call('PUT /volumes/{name}/maps/{initiator}', {
      params: { name, initiator: `group:${to}` },
      body: { access },
    });
    await call('DELETE /volumes/{name}/maps/{initiator}', { params: { name, initiator: `group:${from.name}` } });
  }
  await call('DELETE /host-groups/{name}', { params: { name: from.name } });
}

export function removeGroup({ name, hosts }: HostGroup): void {
  openForm({
    title: `Delete group ${name}?`,
    action: 'Delete',
    danger: true,
    steps: [
      {
        title: 'Delete',
        intro: `Its ${plural(hosts.length, 'host')} stay${hosts.length === 1 ? 's' : ''}. Only a group to which nothing is mapped can be deleted.`,
      },
    ],
    submit: async () => {
      await call('DELETE /host-groups/{name}', { params: { name } });
      changed('hostGroups', 'hosts');
      toast('success', `Group ${name} is deleted`);
    },
  });
}

export function addInitiator(): void {
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

export function forgetInitiator(iqn: string): void {
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
