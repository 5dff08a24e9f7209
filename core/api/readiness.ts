import type { ControlPlane } from '../control/control-plane.ts';

export interface Readiness {
  /** `degraded`: it serves, but not everything. */
  readonly status: 'ready' | 'degraded' | 'not-ready';
  /** Without names: whoever can reach the port may read them. */
  readonly reasons: string[];
}

/** Whether initiators are served, and what stands in the way. */
export function readiness({ catalog, pools, server, views }: ControlPlane): Readiness {
  const listening = server()?.portals.length ?? 0;
  if (listening === 0) return { status: 'not-ready', reasons: ['no portal listens'] };
  const names = catalog.pools.values().map(({ name }) => name);
  const closed = names.filter((name) => pools.problem(name) !== undefined).length;
  const troubled = names.filter(
    (name) => pools.problem(name) === undefined && pools.pool(name).trouble !== undefined,
  ).length;
  const { failed } = views.totals();
  const reasons = [
    ...(closed > 0 ? [`${String(closed)} of ${String(names.length)} pools are not open`] : []),
    ...(troubled > 0 ? [`${String(troubled)} of ${String(names.length)} pools take no writes`] : []),
    ...(failed > 0 ? [`${String(failed)} of ${String(catalog.volumes.size)} volumes are not served`] : []),
  ];
  return { status: reasons.length > 0 ? 'degraded' : 'ready', reasons };
}
