import { html, nothing } from 'lit';
import { data } from '../api/data.ts';
import type { Pool, Volume } from '../api/data.ts';
import { bytes, duration, percent, plural, when } from '../parts/format.ts';
import { View, empty, meter, note, pageHead, shown, state } from '../parts/view.ts';
import { activityPlots } from '../parts/activity.ts';
import { linkTo } from '../router.ts';
import { forRole } from '../session.ts';
import { createVolume } from './volume-wizard.ts';
import { button } from '../parts/view.ts';

class Overview extends View {
  constructor() {
    super();
    this.watch(data.status, data.pools, data.capacity, data.volumes, data.stats, data.findings);
    // The wizard, offered while there is no volume, asks for them.
    this.watch(data.hosts, data.hostGroups, data.policies);
  }

  override render(): unknown {
    return html`${pageHead('Overview', 'How the storage is doing, as of now.')}
    ${shown(data.status, (status) => {
      const pools = data.pools.value ?? [];
      const volumes = data.volumes.value ?? [];
      return html`<div class="cards">
          ${healthCard(pools, volumes)}
          <section class="card" aria-labelledby="card-node">
            <h2 id="card-node">Node</h2>
            <dl class="facts">
              <dt>Version</dt>
              <dd>${status.version}</dd>
              <dt>Up for</dt>
              <dd title=${when(status.started)}>${duration(status.uptimeSeconds)}</dd>
              <dt>Portals</dt>
              <dd>${status.portals.join(', ')}</dd>
              <dt>Sessions</dt>
              <dd><a href=${linkTo('hosts')}>${plural(status.sessions, 'session')}</a></dd>
            </dl>
          </section>
          ${capacityCard(pools)}
        </div>
        <section class="card wide" aria-labelledby="card-activity">
          <h2 id="card-activity">Activity of all volumes</h2>
          ${activityPlots()}
        </section>
        ${
          volumes.length === 0 && data.volumes.value !== undefined
            ? empty(
                'hard-drive',
                'No volumes yet',
                'A volume is a disk that hosts see over iSCSI. Create one, then connect a hypervisor to it.',
                forRole('operator', button('Create a volume', createVolume, { kind: 'solid', icon: 'plus' })),
              )
            : nothing
        }`;
    })}`;
  }
}

function healthCard(pools: readonly Pool[], volumes: readonly Volume[]): unknown {
  const problems = problemsOf(pools, volumes);
  const findings = (data.findings.value ?? []).filter((finding) => finding.level === 'problem');
  const good = problems.length + findings.length === 0;
  return html`<section class="card" aria-labelledby="card-health">
    <h2 id="card-health">Health</h2>
    ${
      good
        ? html`<p class="verdict">
            <cds-icon shape="success-standard" size="lg" status="success"></cds-icon>
            <span>Everything that is served is well.</span>
          </p>`
        : html`${problems.map(({ what, page, name }) => note('danger', html`<a href=${linkTo(page, name)}>${name}</a>: ${what}`))}
          ${findings.map((finding) =>
            note('warning', html`<a href=${linkTo('volumes', finding.volume)}>${finding.volume}</a>: ${finding.text}`),
          )}`
    }
    <p class="muted">${plural(volumes.length, 'volume')}, ${plural(pools.length, 'pool')}</p>
  </section>`;
}

export function problemsOf(
  pools: readonly Pool[],
  volumes: readonly Volume[],
): { page: string; name: string; what: string }[] {
  return [
    ...volumes
      .filter((volume) => volume.state === 'failed')
      .map(({ name, problem }) => ({ page: 'volumes', name, what: problem ?? 'it is not served' })),
    ...pools.flatMap((pool) => {
      const of = { page: 'pools', name: pool.name };
      if (pool.state === 'failed') return [{ ...of, what: pool.problem ?? 'it is not open' }];
      if (pool.damagedMaps.length > 0) return [{ ...of, what: `maps are damaged of ${pool.damagedMaps.join(', ')}` }];
      if (pool.thresholdReached) return [{ ...of, what: `more than ${pool.threshold} % of it is in use` }];
      return [];
    }),
  ];
}

function capacityCard(pools: readonly Pool[]): unknown {
  return html`<section class="card" aria-labelledby="card-capacity">
    <h2 id="card-capacity">Capacity</h2>
    ${pools.length === 0 ? html`<p class="muted">There is no pool yet.</p>` : nothing}
    ${pools.slice(0, 4).map((pool) => {
      const { facts } = pool;
      if (facts === null)
        return html`<p><a href=${linkTo('pools', pool.name)}>${pool.name}</a> ${state('danger', 'failed')}</p>`;
      const share = facts.usedBytes / facts.capacityBytes;
      return html`<div class="capacity">
        <div class="line">
          <a href=${linkTo('pools', pool.name)}>${pool.name}</a>
          <span>${bytes(facts.usedBytes)} of ${bytes(facts.capacityBytes)}, ${percent(share)}</span>
        </div>
        ${meter(share, `${pool.name} is ${percent(share)} full`, pool.threshold / 100)}
        <div class="muted">${fullIn(pool.name)}</div>
      </div>`;
    })}
    ${pools.length > 4 ? html`<a href=${linkTo('pools')}>All ${pools.length} pools</a>` : nothing}
  </section>`;
}

/** When it will be full, if it goes on as lately. */
export function fullIn(pool: string): string {
  const trend = data.capacity.value?.find((each) => each.pool === pool);
  if (trend?.bytesPerDay === undefined || trend.bytesPerDay === null)
    return 'Time to full: not known yet, after ten minutes of watching';
  if (trend.secondsToFull === null) return 'Time to full: it is not growing';
  return `Full in ${duration(trend.secondsToFull)} at ${bytes(trend.bytesPerDay)} a day`;
}

customElements.define('gemel-overview', Overview);
