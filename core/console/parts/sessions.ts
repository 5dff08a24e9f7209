// What is said of hosts and their sessions wherever they are shown.
import { html, nothing } from 'lit';
import type { Host, Session } from '../api/data.ts';
import { bytes, count, plural } from './format.ts';
import { table } from './table.ts';
import { state } from './view.ts';

export function loggedIn({ iqns, connected }: Host): unknown {
  if (connected.length === 0) return state('neutral', 'not logged in');
  return connected.length === iqns.length
    ? state('success', 'logged in')
    : state('warning', `${connected.length} of ${iqns.length} initiators`);
}

export const chapText = ({ chapUser, mutualUser }: Host): string =>
  chapUser === null ? 'none' : mutualUser === null ? 'one way' : 'mutual';

export function sessionTable(sessions: readonly Session[]): unknown {
  return table(
    'Sessions',
    sessions,
    [
      {
        label: 'Initiator',
        sort: ({ initiator }) => initiator,
        cell: ({ initiator, alias }) =>
          html`${initiator}${alias === null ? nothing : html`<div class="muted">${alias}</div>`}`,
      },
      { label: 'Target', sort: ({ target }) => target ?? '', cell: ({ target }) => target ?? 'discovery' },
      { label: 'From', sort: ({ peer }) => peer, cell: ({ peer }) => peer },
      { label: 'Portal', sort: ({ portal }) => portal, cell: ({ portal }) => portal },
      { label: 'Commands', numeric: true, sort: ({ commands }) => commands, cell: ({ commands }) => count(commands) },
      { label: 'Read', numeric: true, sort: ({ readBytes }) => readBytes, cell: ({ readBytes }) => bytes(readBytes) },
      {
        label: 'Written',
        numeric: true,
        sort: ({ writtenBytes }) => writtenBytes,
        cell: ({ writtenBytes }) => bytes(writtenBytes),
      },
      {
        label: 'Trouble',
        cell: ({ digestErrors, rejects }) =>
          digestErrors + rejects === 0
            ? 'none'
            : state('warning', `${plural(digestErrors, 'digest error')}, ${plural(rejects, 'reject')}`),
      },
    ],
    ({ initiator, target, peer }) => `${initiator} ${target ?? ''} ${peer}`,
  );
}
