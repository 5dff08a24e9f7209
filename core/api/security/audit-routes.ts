// The audit log, for admins, to read: no route changes it.
import type { ControlPlane } from '../../control/control-plane.ts';
import { API_PREFIX } from '../prefix.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';
import { AuditCheck, AuditPage, AuditQuery, AuditVerify } from './schemas.ts';

export function auditRoutes({ security }: ControlPlane): Route[] {
  const tag = 'audit';
  const path = '/audit';
  return [
    route({
      method: 'get',
      path,
      tag,
      role: 'admin',
      summary: 'Who changed what, newest first; a page may be empty and not be the last',
      query: AuditQuery,
      response: AuditPage,
      problems: [],
      handle: async ({ query: { cursor, since, until, ...filters } }) => {
        const time = (text: string | undefined): number | undefined =>
          text === undefined ? undefined : Date.parse(text);
        const before = cursor === undefined ? undefined : Number(cursor);
        const { items, next } = await security.audit.page({
          ...filters,
          before,
          since: time(since),
          until: time(until),
        });
        if (next === undefined) return { items, next: null };
        const again = new URLSearchParams();
        const pairs = Object.entries({ ...filters, since, until, cursor: next });
        for (const [name, value] of pairs) if (value !== undefined) again.set(name, String(value));
        return { items, next: `${API_PREFIX}${path}?${again.toString()}` };
      },
    }),
    route({
      method: 'get',
      path: '/audit/verify',
      tag,
      role: 'admin',
      summary: 'Read all of the audit log, and tell whether it is what was written',
      query: AuditVerify,
      response: AuditCheck,
      problems: [],
      handle: ({ query }) => security.audit.verify(query.head),
    }),
  ];
}
