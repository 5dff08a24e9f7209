import { ServiceError } from '../../base/errors.ts';
import type { ServedCertificate } from '../../control/certificate-view.ts';
import type { ControlPlane } from '../../control/control-plane.ts';
import { securitySettingsResource } from '../resources.ts';
import { route } from '../route.ts';
import type { Resource, Route } from '../route.ts';
import { Certificate, SecuritySettings } from './schemas.ts';

const DAY = 86_400_000;

export function settingsRoutes({ catalog, security, certificate, now }: ControlPlane): Route[] {
  const tag = 'settings';
  const resource = (): Resource => securitySettingsResource(catalog);
  return [
    route({
      method: 'get',
      path: '/settings/security',
      tag,
      role: 'admin',
      summary: 'Who may frame the console, and under which names the API is reached',
      resource,
      response: SecuritySettings,
      problems: [],
      handle: () => security.settings.get(),
    }),
    route({
      method: 'put',
      path: '/settings/security',
      tag,
      role: 'admin',
      summary: 'Change them, at once',
      resource,
      body: SecuritySettings,
      response: SecuritySettings,
      problems: ['bad-request'],
      handle: ({ body }) => security.settings.put(body),
    }),
    route({
      method: 'get',
      path: '/certificate',
      tag,
      role: 'viewer',
      summary: 'The certificate browsers are shown, and how long it is good for',
      response: Certificate,
      problems: ['not-found'],
      handle: () => {
        const served = certificate();
        if (served === undefined) throw new ServiceError('not-found', 'there is no certificate');
        return certificateOf(served, now());
      },
    }),
  ];
}

/** `now` in milliseconds since 1970. */
export function certificateOf(
  { source, subject, issuer, names, notBefore, notAfter, problem }: ServedCertificate,
  now: number,
) {
  return {
    ...{ source, subject, issuer, names: [...names], problem: problem ?? null },
    notBefore: new Date(notBefore).toISOString(),
    notAfter: new Date(notAfter).toISOString(),
    daysLeft: Math.floor((notAfter - now) / DAY),
  };
}
