// What browsers are told about every answer.
import type { RequestHandler } from 'express';
import type { SecuritySettings } from '../../control/security-settings.ts';

/** Seconds for which browsers take only HTTPS from this host (RFC 6797): a year. */
const HSTS = 'max-age=31536000';

/** Scripts, styles, pictures and connections of our own only; shown in frames of our own and of the configured origins. */
function contentPolicy(frameOrigins: readonly string[]): string {
  return [
    "default-src 'self'",
    "img-src 'self' data:",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    `frame-ancestors ${["'self'", ...frameOrigins].join(' ')}`,
  ].join('; ');
}

export function securityHeaders(settings: SecuritySettings): RequestHandler {
  return (request, response, next) => {
    response.set({
      'Cache-Control': 'no-store',
      'Content-Security-Policy': contentPolicy(settings.get().frameOrigins),
      'Cross-Origin-Opener-Policy': 'same-origin',
      'Cross-Origin-Resource-Policy': 'same-origin',
      'Permissions-Policy': 'camera=(), geolocation=(), microphone=()',
      'Referrer-Policy': 'no-referrer',
      'X-Content-Type-Options': 'nosniff',
    });
    // It holds for all ports of a host: others' plain HTTP on a developer's own machine is none of our business.
    if (!/^localhost(:|$)/i.test(request.get('host') ?? '')) response.set('Strict-Transport-Security', HSTS);
    next();
  };
}
