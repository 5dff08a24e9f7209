// What goes over the API about alerts.
import { z } from 'zod';
import { MAX_ALERT_CA, MAX_ALERT_RECEIVERS } from '../base/limits.ts';
import { SEVERITIES } from '../control/events.ts';

const severity = z.enum(SEVERITIES);
const host = z.string().regex(/^[\w.:-]{1,253}$/, 'a name or an address');
const port = z.int().min(1).max(65_535);
const ca = z.string().max(MAX_ALERT_CA).optional().meta({ description: 'PEM of an authority that is trusted besides' });
const mailbox = z.string().regex(/^[^\s@<>,;:"\\]{1,64}@[A-Za-z0-9.-]{1,253}$/, 'an address like admin@example.com');
const object = z.object({ kind: z.string(), name: z.string() });
const timestamp = z.string().meta({ format: 'date-time' });

const Email = z.strictObject({
  host,
  port,
  security: z.enum(['starttls', 'tls', 'none']).default('starttls'),
  user: z.string().min(1).max(255).optional(),
  from: mailbox,
  to: z.array(mailbox).min(1).max(MAX_ALERT_RECEIVERS),
  ca,
});
const Webhook = z.strictObject({ url: z.string().min(1).max(2048), ca });
const Syslog = z.strictObject({ host, port, protocol: z.enum(['udp', 'tcp', 'tls']).default('udp'), ca });

export const AlertTargetParams = z.strictObject({ name: z.string().min(1).max(63) });
export const PutAlertTarget = z.strictObject({
  atLeast: severity.default('warning'),
  email: Email.optional(),
  webhook: Webhook.optional(),
  syslog: Syslog.optional(),
  secret: z.string().min(1).max(1024).optional().meta({
    description: 'password of the mail server, or key of the signature; never shown. Absent: it stays',
    writeOnly: true,
  }),
});

export const AlertTarget = z.object({
  name: z.string(),
  kind: z.enum(['email', 'webhook', 'syslog']),
  atLeast: severity,
  email: Email.optional(),
  webhook: Webhook.optional(),
  syslog: Syslog.optional(),
  hasSecret: z.boolean(),
  delivery: z.object({
    sent: z.int(),
    lost: z.int(),
    waiting: z.int(),
    lastSent: timestamp.nullable(),
    lastError: z.string().nullable(),
  }),
  created: timestamp,
});

export const Alert = z.object({ rule: z.string(), severity, object, text: z.string(), since: timestamp });

export const AlertRuleParams = z.strictObject({ rule: z.string().min(1).max(63) });
export const PatchAlertRule = z.strictObject({
  enabled: z.boolean().optional(),
  limit: z.number().positive().max(1_000_000).optional(),
});
export const AlertRule = z.object({
  rule: z.string(),
  severity,
  enabled: z.boolean(),
  limit: z.number(),
  defaultLimit: z.number(),
  unit: z.string(),
  text: z.string(),
});
