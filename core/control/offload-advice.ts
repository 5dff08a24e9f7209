// Why something was not offloaded, in words: what the host was told, what it means, and what to do.
import { OFFLOAD_KINDS } from '../scsi/offload-meter.ts';
import type { OffloadKind } from '../scsi/offload-meter.ts';
import type { OffloadReason } from '../scsi/sense.ts';
import type { OffloadHostView, OffloadKindView, OffloadView } from './offload.ts';

export interface Finding {
  volume: string;
  /** iSCSI name; null: it is about all hosts. */
  host: string | null;
  /** `problem`: something that was asked for did not happen; `note`: good to know; `good`: it works. */
  level: 'good' | 'note' | 'problem';
  text: string;
  /** What to do; null: nothing. */
  remedy: string | null;
}

/** Names of the commands, and what they do for people. */
const NAMES: Readonly<Record<OffloadKind, string>> = {
  'extended-copy': 'EXTENDED COPY (clones and moves by ESXi)',
  'populate-token': 'POPULATE TOKEN (copies by Windows)',
  'write-using-token': 'WRITE USING TOKEN (copies by Windows)',
  'write-same': 'WRITE SAME (zeroing)',
  unmap: 'UNMAP (giving space back)',
  'compare-and-write': 'COMPARE AND WRITE (locks of VMFS)',
};

interface Explanation {
  /** After "because". */
  readonly why: string;
  readonly remedy: string | null;
  /** Part of ordinary life. */
  readonly normal?: boolean;
}

const EXPLANATIONS: Readonly<Record<OffloadReason, Explanation>> = {
  'not-offered': {
    why: 'this volume does not have the command',
    remedy: 'UNMAP is for thin volumes; for the others see which commands the volume offers (gemel offload VOLUME).',
  },
  'bad-command': {
    why: 'a field of the command is not supported',
    remedy:
      'Check that the host uses the limits the volume announces (VPD pages B0h and 8Fh); rescan it after an update.',
  },
  'bad-list': {
    why: 'the parameter list of the command is not valid for this volume',
    remedy: 'Look into the log of the host; if it names this storage, report it with the daemon log.',
  },
  'too-long': {
    why: 'the command is longer than the limit the volume announces',
    remedy: 'Let the host rescan the volume, so that it reads the limits (VPD page B0h) anew.',
  },
  'out-of-range': {
    why: 'the command reaches beyond the end of the volume',
    remedy: 'Rescan the host: it does not know the size of the volume.',
  },
  'not-mapped': {
    why: 'the source or the destination is not mapped to this host',
    remedy: 'Map both volumes to the host (gemel map VOLUME INITIATOR); others are invisible to its copies on purpose.',
  },
  'token-unknown': {
    why: 'the token is not known here: it was made by another storage, or it is used up',
    remedy: 'Nothing, if the host copied by itself then; copies between different storages cannot be offloaded.',
  },
  'token-forged': { why: 'the token was changed or made up', remedy: 'Find out which program on the host sent it.' },
  'token-expired': {
    why: 'the token had expired',
    remedy: 'Nothing, if it was once; else look for what keeps the host so long between its two commands.',
  },
  'token-unusable': {
    why: 'the token is not for this use',
    remedy: 'Nothing, if the host copied by itself then.',
  },
  slower: {
    why: 'the host was measured to copy faster than the storage',
    remedy: 'Nothing; gemel copy-route always --volume VOLUME takes all copies nevertheless.',
    normal: true,
  },
  policy: {
    why: 'the copy-route policy does not take such copies',
    remedy: 'gemel copy-route auto --volume VOLUME lets the measured rates decide.',
  },
  busy: {
    why: 'too many such commands were under way',
    remedy: 'Nothing: the host copied by itself or tried again. Start fewer clones at a time.',
  },
  'no-space': { why: 'the pool is full', remedy: 'Free space in the pool, or grow it (gemel pool grow).' },
  'write-protected': {
    why: 'the volume, or its mapping to this host, is read-only',
    remedy: 'Map it read-write (gemel map VOLUME INITIATOR).',
  },
  'not-ready': { why: 'the volume was not ready', remedy: 'Look at gemel volume list.' },
  reserved: {
    why: 'another host has reserved the volume',
    remedy: 'Nothing in a cluster that hands reservations over; else release the reservation of the other host.',
    normal: true,
  },
  miscompare: {
    why: 'the blocks were not as the host expected: another host was first',
    remedy: null,
    normal: true,
  },
  'storage-failed': {
    why: 'reading or writing the storage failed',
    remedy: 'Look at the daemon log and at gemel pool show.',
  },
  'copy-failed': { why: 'the copy failed half way', remedy: 'Look at the daemon log.' },
  aborted: {
    why: 'the host gave it up (a timeout, or the end of a session)',
    remedy: 'Look at the latencies (gemel stats) and at the network of the host.',
  },
  other: { why: 'something else went wrong', remedy: 'Look at the daemon log.' },
};

/** What to switch on in a host that has never asked. */
const SWITCHES: Readonly<Record<OffloadKind, string>> = {
  'extended-copy': 'ESXi: DataMover.HardwareAcceleratedMove = 1',
  'populate-token': 'Windows: FilterSupportedFeaturesMode = 0, and no filter driver that forbids it',
  'write-using-token': 'Windows: FilterSupportedFeaturesMode = 0, and no filter driver that forbids it',
  'write-same': 'ESXi: DataMover.HardwareAcceleratedInit = 1',
  unmap: 'ESXi: reclaim on the datastore; Linux: fstrim or discard; Windows: DisableDeleteNotify = 0',
  'compare-and-write': 'ESXi: VMFS3.HardwareAcceleratedLocking = 1',
};

/** Everything there is to say about the offload of these volumes, problems first. */
export function diagnose(views: readonly OffloadView[]): Finding[] {
  const order = { problem: 0, note: 1, good: 2 } as const;
  return views.flatMap(findingsOf).sort((a, b) => order[a.level] - order[b.level]);
}

function findingsOf(view: OffloadView): Finding[] {
  const { volume } = view;
  const found: Finding[] = [];
  const about = (host: string | null, level: Finding['level'], text: string, remedy: string | null): void => {
    found.push({ volume, host, level, text, remedy });
  };
  for (const kind of OFFLOAD_KINDS) {
    if (!view.offered.includes(kind)) about(null, 'note', `${NAMES[kind]} is not offered: ${whyNot(kind, view)}`, null);
  }
  if (view.hosts.length === 0) about(null, 'note', 'no host has been here since the start', 'Log a host in.');
  for (const host of view.hosts) {
    for (const kind of host.kinds) about(host.initiator, ...finding(kind, volume));
    const never = neverAsked(host, view);
    if (never !== undefined) about(host.initiator, 'note', ...never);
  }
  return found;
}

function whyNot(kind: OffloadKind, { thin }: OffloadView): string {
  return kind === 'unmap' && !thin ? 'the volume is thick and keeps its space' : 'this version does not have it';
}

function finding(view: OffloadKindView, volume: string): [Finding['level'], string, string | null] {
  const { kind, used, refused, last, reasons } = view;
  const times = `${NAMES[kind]}: used ${String(used)} times`;
  if (last === null) return ['good', times, null];
  const { why, remedy, normal } = EXPLANATIONS[last.reason];
  const told = last.told === '' ? '' : ` (the host was told ${last.told})`;
  const others = reasons
    .filter(({ reason }) => reason !== last.reason)
    .map(({ reason, count }) => `${reason} ${String(count)}`);
  const rest = others.length === 0 ? '' : `; before: ${others.join(', ')}`;
  const text = `${times}, refused ${String(refused)} times, last at ${last.at} because ${why}${told}${rest}`;
  return [normal === true ? 'note' : 'problem', text, remedy?.replaceAll('VOLUME', volume) ?? null];
}

/** The kinds a connected host has never asked for, and where they are switched on. */
function neverAsked({ connected, kinds }: OffloadHostView, { offered }: OffloadView): [string, string] | undefined {
  const never = offered.filter((kind) => !kinds.some((each) => each.kind === kind));
  if (!connected || never.length === 0) return undefined;
  const switches = [...new Set(never.map((kind) => SWITCHES[kind]))].join('; ');
  return [`has never asked for ${never.join(', ')}`, `Where it should: ${switches}.`];
}
