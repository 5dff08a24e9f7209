// Whom a volume is mapped to, as people call it: a host, a group of hosts, an initiator, or one of the two that mean many.
import { html } from 'lit';
import { linkTo } from '../router.ts';

const WORDS: Readonly<Record<string, string>> = {
  loopback: 'loopback (this storage machine)',
  all: 'all (every initiator, labs)',
};

/** `host esx1`; iSCSI names stay as they are. */
export function subjectText(who: string): string {
  const [, kind, name] = /^(host|group):(.+)$/.exec(who) ?? [];
  return kind === undefined || name === undefined ? (WORDS[who] ?? who) : `${kind} ${name}`;
}

/** The same, with a link where there is a page. */
export function subject(who: string): unknown {
  const [, kind, name] = /^(host|group):(.+)$/.exec(who) ?? [];
  if (kind === undefined || name === undefined) return subjectText(who);
  const place = kind === 'host' ? linkTo('hosts', name) : linkTo('hosts');
  return html`${kind} <a href=${place}>${name}</a>`;
}
