// Users, for admins.
import type { ControlPlane } from '../../control/control-plane.ts';
import type { UserRecord } from '../../control/security-records.ts';
import { exact, listRoute, prefix } from '../paging.ts';
import { userResource } from '../resources.ts';
import { route } from '../route.ts';
import type { Resource, Route } from '../route.ts';
import { ChangeUser, CreateUser, SetPassword, User, UserParams } from './schemas.ts';

export function accountRoutes({ catalog, security }: ControlPlane): Route[] {
  const { users, sessions } = security;
  const tag = 'users';
  const resource = ({ user }: { user: string }): Resource => userResource(catalog, user);
  const view = ({ name, role, enabled, created, lastLogin }: UserRecord): unknown => ({
    ...{ name, role, enabled, created: new Date(created).toISOString() },
    lastLogin: lastLogin === undefined ? null : new Date(lastLogin).toISOString(),
    sessions: sessions.count(name),
  });
  const list = listRoute<UserRecord>({
    path: '/users',
    tag,
    summary: 'List the users',
    item: User,
    rows: () => users.list(),
    inOrder: true,
    key: ({ name }) => name,
    keyName: 'name',
    sorts: { created: ({ created }) => created },
    filters: { name: prefix(({ name }) => name), role: exact(User.shape.role.optional(), ({ role }) => role) },
    view,
  });
  const rows: Route[] = [
    { ...list, role: 'admin' },
    route({
      method: 'post',
      path: '/users',
      tag,
      role: 'admin',
      summary: 'Make a user',
      body: CreateUser,
      status: 201,
      response: User,
      problems: ['bad-request', 'exists', 'limit-reached', 'throttled'],
      handle: async ({ body }) => view(await users.create(body)),
    }),
    route({
      method: 'get',
      path: '/users/:user',
      tag,
      role: 'admin',
      summary: 'Show one user',
      params: UserParams,
      response: User,
      problems: ['not-found'],
      handle: ({ params }) => view(users.get(params.user)),
    }),
    route({
      method: 'patch',
      path: '/users/:user',
      tag,
      role: 'admin',
      summary: 'Change the role of a user, or whether it may log in',
      params: UserParams,
      body: ChangeUser,
      response: User,
      problems: ['not-found', 'last-admin'],
      handle: async ({ params, body }) => view(await security.changeUser(params.user, body)),
    }),
    route({
      method: 'delete',
      path: '/users/:user',
      tag,
      role: 'admin',
      summary: 'Remove a user, and end its sessions',
      params: UserParams,
      problems: ['not-found', 'last-admin'],
      handle: ({ params }) => security.removeUser(params.user),
    }),
    route({
      method: 'put',
      path: '/users/:user/password',
      tag,
      role: 'admin',
      summary: 'Give a user another password, and end its sessions',
      params: UserParams,
      body: SetPassword,
      problems: ['not-found', 'bad-request', 'throttled'],
      handle: ({ params, body }) => security.setPassword(params.user, body.password),
    }),
    route({
      method: 'delete',
      path: '/users/:user/sessions',
      tag,
      role: 'admin',
      summary: 'Log a user out everywhere',
      params: UserParams,
      problems: ['not-found'],
      handle: ({ params }) => sessions.endAll(users.get(params.user).name),
    }),
  ];
  return rows.map((row) => (row.path.startsWith('/users/:user') ? { ...row, resource } : row));
}
