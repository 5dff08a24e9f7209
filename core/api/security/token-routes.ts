// API tokens, for admins.
import { ServiceError } from '../../base/errors.ts';
import type { ControlPlane } from '../../control/control-plane.ts';
import type { TokenRecord } from '../../control/records.ts';
import { OWNER_TOKEN } from '../../control/tokens.ts';
import { exact, listRoute, prefix } from '../paging.ts';
import { tokenResource } from '../resources.ts';
import { route } from '../route.ts';
import type { Route } from '../route.ts';
import { CreateToken, NewToken, Token, TokenParams } from './schemas.ts';

export function tokenRoutes({ catalog, tokens, certificate }: ControlPlane): Route[] {
  const tag = 'tokens';
  const list = listRoute<TokenRecord>({
    path: '/tokens',
    tag,
    summary: 'List the API tokens; what they consist of is not kept',
    item: Token,
    rows: () => tokens.list(),
    inOrder: true,
    key: ({ name }) => name,
    keyName: 'name',
    sorts: { created: ({ created }) => created },
    filters: { name: prefix(({ name }) => name), role: exact(Token.shape.role.optional(), ({ role }) => role) },
    view,
  });
  return [
    { ...list, role: 'admin' },
    route({
      method: 'post',
      path: '/tokens',
      tag,
      role: 'admin',
      summary: 'Make an API token; the answer shows it once',
      body: CreateToken,
      status: 201,
      response: NewToken,
      confidential: true,
      problems: ['bad-request', 'exists', 'limit-reached'],
      handle: async ({ body }) => {
        const fingerprint = certificate()?.fingerprint;
        if (fingerprint === undefined) throw new ServiceError('daemon-unreachable', 'the API has no certificate yet');
        const expires = body.expires === undefined ? undefined : Date.parse(body.expires);
        const { record, secret } = await tokens.create({ name: body.name, role: body.role, expires }, fingerprint);
        return { ...view(record), secret };
      },
    }),
    route({
      method: 'get',
      path: '/tokens/:token',
      tag,
      role: 'admin',
      summary: 'Show one API token, without what it consists of',
      params: TokenParams,
      resource: ({ token }) => tokenResource(catalog, token),
      response: Token,
      problems: ['not-found'],
      handle: ({ params }) => view(tokens.get(params.token)),
    }),
    route({
      method: 'delete',
      path: '/tokens/:token',
      tag,
      role: 'admin',
      summary: 'Revoke an API token',
      params: TokenParams,
      resource: ({ token }) => tokenResource(catalog, token),
      problems: ['not-found', 'in-use'],
      handle: ({ params }) => tokens.revoke(params.token),
    }),
  ];
}

function view({ name, role, created, expires, lastUsed }: TokenRecord): object {
  const iso = (time: number | undefined): string | null => (time === undefined ? null : new Date(time).toISOString());
  const times = { created: iso(created), expires: iso(expires), lastUsed: iso(lastUsed) };
  return { name, role, ...times, local: name === OWNER_TOKEN };
}
