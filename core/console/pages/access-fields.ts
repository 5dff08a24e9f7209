// The fields of dialogs that say who may use a volume, and what is a name.
import { data } from '../api/data.ts';
import type { Volume } from '../api/data.ts';
import { plural } from '../parts/format.ts';
import type { Choice, Field, Values } from '../parts/form.ts';

const NAME = /^[a-z0-9][a-z0-9.-]{0,62}$/;
export const checkName = (text: string): string | undefined =>
  NAME.test(text) ? undefined : 'Up to 63 of a-z, 0-9, "." and "-", beginning with a letter or digit.';
const IQN = /^(iqn\.\d{4}-\d{2}\.|eui\.|naa\.)[^\s/]{1,220}$/;
export const checkInitiators = (lines: readonly string[]): string | undefined => {
  const wrong = lines.find((line) => !IQN.test(line));
  return wrong === undefined
    ? undefined
    : `"${wrong.slice(0, 60)}" is not an iSCSI name: it begins with iqn., eui. or naa.`;
};

/** Hosts and groups of hosts, as a volume is mapped to them. `volume`: whose maps are told, too. */
function subjects(volume?: Volume): Choice[] {
  const has = (value: string): string => {
    const map = volume?.maps.find(({ initiator }) => initiator === value);
    return map === undefined ? '' : `, is mapped ${map.access}`;
  };
  const groups = (data.hostGroups.value ?? []).map(({ name, hosts }) => ({
    value: `group:${name}`,
    label: `Group ${name}, ${plural(hosts.length, 'host')}${has(`group:${name}`)}`,
  }));
  const hosts = (data.hosts.value ?? []).map(({ name, iqns }) => ({
    value: `host:${name}`,
    label: `Host ${name}, ${plural(iqns.length, 'initiator')}${has(`host:${name}`)}`,
  }));
  return [...groups, ...hosts];
}

/** `volume`: that has maps already; undefined: a new one, which may be for nobody yet. */
export function mapFields(volume?: Volume): Field[] {
  const known = subjects(volume);
  const who: Choice[] = [
    { value: 'named', label: 'The initiators named below' },
    { value: 'loopback', label: 'This storage machine only' },
    ...(volume === undefined ? [{ value: 'nobody', label: 'Nobody yet' }] : []),
    { value: 'all', label: 'Every initiator that reaches a portal (labs)' },
  ];
  return [
    {
      name: 'who',
      label: 'Who may use it',
      type: 'select',
      choices: known.length === 0 ? who : [{ value: 'hosts', label: 'The hosts and groups chosen below' }, ...who],
    },
    {
      name: 'hosts',
      label: 'Hosts and groups',
      type: 'several',
      choices: known,
      required: true,
      help: 'A host may use it with all its initiators; a group with all its hosts, also those that join later.',
      when: (values) => values.text('who') === 'hosts',
    },
    {
      name: 'initiators',
      label: 'iSCSI names, one per line',
      type: 'lines',
      required: true,
      help:
        known.length === 0
          ? 'Of every host that shares the volume: all members of a cluster need it. Hosts that have a name (Hosts and sessions) can be chosen instead.'
          : 'Of every host that shares the volume: all members of a cluster need it.',
      when: (values) => values.text('who') === 'named',
      check: (_text, values) => checkInitiators(values.lines('initiators')),
    },
    {
      name: 'readOnly',
      label: 'They may only read',
      type: 'checkbox',
      when: (values) => values.text('who') !== 'nobody',
    },
  ];
}

/** What the fields say, as the API wants it. */
export function mapsOf(values: Values): { initiator: string; access: 'read-write' | 'read-only' }[] {
  const who = values.text('who');
  const listed: Readonly<Record<string, string[]>> = {
    hosts: values.lines('hosts'),
    named: values.lines('initiators'),
    nobody: [],
  };
  const access = values.flag('readOnly') ? 'read-only' : 'read-write';
  return (listed[who] ?? [who]).map((initiator) => ({ initiator, access }));
}
