// One host: its initiators and their paths, and the volumes it may use and why.
import { html, nothing } from 'lit';
import { data } from '../api/data.ts';
import type { Host, Volume } from '../api/data.ts';
import { bytes, plural, when } from '../parts/format.ts';
import { chapText, loggedIn, sessionTable } from '../parts/sessions.ts';
import { subject } from '../parts/subjects.ts';
import { table } from '../parts/table.ts';
import { button, empty, pageHead, shown, state } from '../parts/view.ts';
import { linkTo } from '../router.ts';
import { forRole } from '../session.ts';
import { RUNS, editHost, forgetHost, mapVolumes } from './host-actions.ts';

export function hostPage(name: string): unknown {
  const back = html`<a href=${linkTo('hosts')}>All hosts</a>`;
  return shown(data.hosts, (hosts) => {
    const host = hosts.find((each) => each.name === name);
    if (host === undefined) {
      return html`${pageHead(name, back)}
      ${empty('host', 'There is no such host', `Nothing is called ${name} (any more).`)}`;
    }
    const sessions = (data.sessions.value ?? []).filter(({ initiator }) => host.iqns.includes(initiator));
    return html`${pageHead(
        name,
        back,
        html`${forRole(
          'operator',
          button(
            'Map volumes',
            () => {
              mapVolumes(`host:${name}`, `host ${name}`);
            },
            { kind: 'solid' },
          ),
        )}
        ${forRole(
          'admin',
          html`${button('Change', () => {
            editHost(host);
          })}
          ${button(
            'Forget',
            () => {
              forgetHost(host);
            },
            { danger: true },
          )}`,
        )}`,
      )}
      <div class="cards">${facts(host)} ${initiators(host)}</div>
      <section class="card wide" aria-labelledby="host-volumes">
        <h2 id="host-volumes">Volumes it may use</h2>
        ${volumeTable(host)}
      </section>
      <section class="card wide" aria-labelledby="host-sessions">
        <h2 id="host-sessions">Sessions</h2>
        ${
          sessions.length === 0
            ? html`<p class="muted">It is not logged in. <a href=${linkTo('connect')}>How hosts connect</a></p>`
            : sessionTable(sessions)
        }
      </section>`;
  });
}

function facts(host: Host): unknown {
  return html`<section class="card" aria-labelledby="host-facts">
    <h2 id="host-facts">What it is</h2>
    <dl class="facts">
      <dt>State</dt>
      <dd>${loggedIn(host)}</dd>
      <dt>Runs</dt>
      <dd>${host.profile === null ? 'not said' : RUNS[host.profile]}</dd>
      <dt>Groups</dt>
      <dd>${host.groups.length === 0 ? 'none' : host.groups.join(', ')}</dd>
      <dt>CHAP</dt>
      <dd>
        ${chapText(host)}${host.chapUser === null ? nothing : html` <span class="muted">as ${host.chapUser}</span>`}
      </dd>
      <dt>Known since</dt>
      <dd>${when(host.created)}</dd>
    </dl>
  </section>`;
}

function initiators({ iqns, connected }: Host): unknown {
  return html`<section class="card" aria-labelledby="host-initiators">
    <h2 id="host-initiators">Initiators</h2>
    <ul class="rows">
      ${iqns.map((iqn) => {
        const sessions = (data.sessions.value ?? []).filter(({ initiator }) => initiator === iqn).length;
        return html`<li>
          <span class="grow">${iqn}</span>
          ${
            connected.includes(iqn)
              ? state('success', plural(Math.max(1, sessions), 'session'))
              : state('neutral', 'not logged in')
          }
        </li>`;
      })}
    </ul>
  </section>`;
}

/** The map that counts for this host, as the daemon decides: its own, then a group's that lets it write, then any group's. */
function mapOf(host: Host, { maps }: Volume): Volume['maps'][number] | undefined {
  const of = (who: string): Volume['maps'][number] | undefined => maps.find(({ initiator }) => initiator === who);
  const grouped = host.groups.flatMap((group) => of(`group:${group}`) ?? []);
  return of(`host:${host.name}`) ?? grouped.find(({ access }) => access === 'read-write') ?? grouped[0];
}

function volumeTable(host: Host): unknown {
  const volumes = (data.volumes.value ?? []).filter(({ name }) => host.volumes.includes(name));
  if (volumes.length === 0) return html`<p class="muted">None yet. Map volumes to it, then rescan there.</p>`;
  return table(
    'Volumes of the host',
    volumes,
    [
      {
        label: 'Name',
        sort: ({ name }) => name,
        cell: ({ name }) => html`<a href=${linkTo('volumes', name)}>${name}</a>`,
      },
      { label: 'Size', numeric: true, sort: ({ size }) => size, cell: ({ size }) => bytes(size) },
      {
        label: 'Through',
        cell: (volume) => {
          const map = mapOf(host, volume);
          return map === undefined ? 'one of its initiators' : subject(map.initiator);
        },
      },
      { label: 'Access', cell: (volume) => mapOf(host, volume)?.access ?? '' },
      { label: 'NAA', cell: ({ naa }) => html`<code>${naa}</code>` },
    ],
    ({ name, naa }) => `${name} ${naa}`,
  );
}
