// What goes over the API about users, tokens, sessions, the audit log and certificates.
import { z } from 'zod';
import { MAX_AUDIT_PAGE, MAX_FRAME_ORIGINS, MAX_PASSWORD } from '../../base/limits.ts';
import { ROLES } from '../../control/records.ts';

const timestamp = z.string().meta({ format: 'date-time' });
const Role = z.enum(ROLES);
/** A password as it arrives; what is good enough for a new one is decided in control/passwords.ts. */
const Password = z.string().min(1).max(MAX_PASSWORD).meta({ writeOnly: true });

export const UserName = z
  .string()
  .min(1)
  .max(63)
  .meta({ description: '1 to 63 of a-z, 0-9, ".", "_", "@" and "-"', example: 'anna' });
export const TokenName = z.string().min(1).max(63).meta({ description: 'a-z, 0-9, "." and "-"', example: 'backup' });

export const Login = z.strictObject({ user: UserName, password: Password });
export const FirstLogin = z.strictObject({
  code: z.string().min(1).max(200).meta({ writeOnly: true }),
  user: UserName,
  password: Password,
});
export const FirstLoginState = z.object({
  open: z
    .boolean()
    .meta({ description: 'true while there is no user: the link the daemon printed makes the first one' }),
});
export const FirstLoginLink = z.object({ url: z.string(), code: z.string(), expires: timestamp });
export const ChangeOwnPassword = z.strictObject({ current: Password, next: Password });

export const Identity = z.object({
  kind: z.enum(['session', 'token']),
  name: z.string().meta({ description: 'of the user or the token' }),
  role: Role,
  csrf: z.string().nullable().meta({ description: 'for the header Gemel-CSRF; null for a token' }),
  created: timestamp,
  expires: timestamp.nullable().meta({ description: 'when it ends whatever is done' }),
  idleSeconds: z.int().nullable().meta({ description: 'it ends after so many seconds without a request' }),
});

export const User = z.object({
  name: z.string(),
  role: Role,
  enabled: z.boolean(),
  created: timestamp,
  lastLogin: timestamp.nullable(),
  sessions: z.int(),
});
export const CreateUser = z.strictObject({ name: UserName, role: Role, password: Password });
export const ChangeUser = z.strictObject({ role: Role.optional(), enabled: z.boolean().optional() });
export const SetPassword = z.strictObject({ password: Password });
export const UserParams = z.strictObject({ user: UserName });

export const Token = z.object({
  name: z.string(),
  role: Role,
  created: timestamp,
  expires: timestamp.nullable(),
  lastUsed: timestamp.nullable().meta({ description: 'to the hour' }),
  local: z.boolean().meta({ description: 'the one in the data folder of the daemon, which cannot be revoked here' }),
});
export const CreateToken = z.strictObject({
  name: TokenName,
  role: Role,
  expires: z.iso.datetime({ offset: true }).optional().meta({ description: 'never when absent' }),
});
export const NewToken = Token.extend({
  secret: z.string().meta({ description: 'what to send after "Bearer"; it is shown only here' }),
});
export const TokenParams = z.strictObject({ token: TokenName });

export const AuditEntry = z.object({
  seq: z.int(),
  at: timestamp,
  who: z.object({ kind: z.enum(['user', 'token', 'nobody']), name: z.string(), role: Role.nullable() }),
  address: z.string(),
  method: z.string(),
  route: z.string().meta({ example: '/volumes/:name' }),
  object: z.string().meta({ example: '/volumes/vm-1' }),
  request: z.unknown().meta({ description: 'the body; secrets are left out' }),
  before: z.unknown(),
  after: z.unknown(),
  status: z.int(),
  code: z.string().nullable().meta({ description: 'of the error catalogue when it was refused' }),
});
export const AuditPage = z.object({
  items: z.array(AuditEntry),
  next: z.string().nullable().meta({ description: 'cursor of the next page; null: that was the last one' }),
});
export const AuditQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(MAX_AUDIT_PAGE).optional(),
  cursor: z
    .string()
    .regex(/^\d{1,15}$/)
    .optional(),
  who: z.string().max(63).optional().meta({ description: 'name of a user or token' }),
  method: z.enum(['POST', 'PUT', 'PATCH', 'DELETE']).optional(),
  object: z.string().max(300).optional().meta({ description: 'what the path begins with, such as /volumes/vm-1' }),
  result: z.enum(['done', 'refused']).optional(),
  since: z.iso.datetime({ offset: true }).optional(),
  until: z.iso.datetime({ offset: true }).optional(),
});
export const AuditVerify = z.strictObject({
  head: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional()
    .meta({ description: 'hash of the last entry at an earlier check, which has to be there' }),
});
export const AuditCheck = z.object({
  ok: z.boolean(),
  entries: z.int(),
  first: z.int(),
  last: z.int(),
  head: z.string().meta({ description: 'of the last entry: whoever keeps it elsewhere can tell a rewritten log' }),
  findings: z.array(z.string()),
});

export const SecuritySettings = z.strictObject({
  frameOrigins: z
    .array(z.string().max(300))
    .max(MAX_FRAME_ORIGINS)
    .meta({ description: 'https:// origins that may show the console in a frame, besides its own' }),
  apiNames: z
    .array(z.string().max(253))
    .max(MAX_FRAME_ORIGINS)
    .meta({ description: 'further DNS names under which the API is reached' }),
});
export const Certificate = z.object({
  source: z.enum(['own-ca', 'given']),
  subject: z.string(),
  issuer: z.string(),
  names: z.array(z.string()),
  notBefore: timestamp,
  notAfter: timestamp,
  daysLeft: z.int(),
  problem: z.string().nullable().meta({ description: 'why the latest files are not in use' }),
});
