import { html, nothing } from 'lit';
import { call } from '../api/client.ts';
import type { Item } from '../api/client.ts';
import { changed, data } from '../api/data.ts';
import { duration, plural, when } from '../parts/format.ts';
import { fileBox } from '../parts/copy.ts';
import { openForm } from '../parts/form.ts';
import { table } from '../parts/table.ts';
import { toast, toastProblem } from '../parts/toast.ts';
import { View, button, note, pageHead, sentence, shown, state } from '../parts/view.ts';
import { linkTo } from '../router.ts';
import { session } from '../session.ts';
import { storageSettings } from './settings-storage.ts';
import type { Role } from '../session.ts';

type User = Item<'GET /users'>;
type Token = Item<'GET /tokens'>;

const TABS = {
  me: 'Your account',
  users: 'Users',
  tokens: 'API tokens',
  storage: 'Portals and policies',
  security: 'Security',
  audit: 'Audit log',
} as const;
type Tab = keyof typeof TABS;

const ROLE_CHOICES: { value: Role; label: string }[] = [
  { value: 'viewer', label: 'Viewer: looks' },
  { value: 'operator', label: 'Operator: also works with volumes' },
  { value: 'admin', label: 'Admin: also decides who has access' },
];

class Settings extends View {
  static override properties = { name: {} };
  /** Of the tab. */
  declare name: string | undefined;

  constructor() {
    super();
    this.watch(data.certificate);
    if (session.may('admin'))
      this.watch(data.users, data.tokens, data.security, data.audit, data.portals, data.policies);
  }

  override render(): unknown {
    const tabs = (Object.keys(TABS) as Tab[]).filter((tab) => tab === 'me' || session.may('admin'));
    const tab = tabs.find((each) => each === this.name) ?? 'me';
    return html`${pageHead('Settings', 'Who may use this storage, and how it proves who it is.')}
      <nav class="tabs" aria-label="Settings">
        ${tabs.map((each) => html`<a href=${linkTo('settings', each)} aria-current=${each === tab ? 'page' : nothing}>${TABS[each]}</a>`)}
      </nav>
      ${PANELS[tab]()}`;
  }
}

const PANELS: Readonly<Record<Tab, () => unknown>> = {
  me: () => {
    const me = session.identity;
    if (me === undefined) return nothing;
    return html`<section class="card wide" aria-labelledby="me">
        <h2 id="me">${me.kind === 'token' ? 'API token' : 'User'} ${me.name}</h2>
        <dl class="facts">
          <dt>Role</dt>
          <dd>${me.role}</dd>
          <dt>Logged in</dt>
          <dd>${when(me.created)}</dd>
          ${
            me.expires === null
              ? nothing
              : html`<dt>Ends</dt>
                  <dd>
                    ${when(me.expires)}${me.idleSeconds === null ? '' : `, or after ${duration(me.idleSeconds)} without use`}
                  </dd>`
          }
        </dl>
        ${me.kind === 'session' ? html`<p>${button('Change your password', changePassword)}</p>` : nothing}
      </section>
      ${certificate()}`;
  },
  users: () =>
    html`<section class="card wide" aria-labelledby="users">
      <h2 id="users">Users</h2>
      ${shown(data.users, (users) =>
        users.length === 0
          ? note(
              'info',
              html`Nobody yet: you are using a token. Run <code>gemel first-login</code> and open the link to make the
                first user.`,
            )
          : table('Users', users, [
              { label: 'Name', sort: ({ name }) => name, cell: ({ name }) => name },
              { label: 'Role', sort: ({ role }) => role, cell: ({ role }) => role },
              {
                label: 'State',
                cell: ({ enabled }) => (enabled ? state('success', 'enabled') : state('neutral', 'disabled')),
              },
              {
                label: 'Last login',
                sort: ({ lastLogin }) => lastLogin ?? '',
                cell: ({ lastLogin }) => (lastLogin === null ? 'never' : when(lastLogin)),
              },
              { label: 'Sessions', numeric: true, cell: ({ sessions }) => sessions },
              { label: 'Actions', cell: userActions },
            ]),
      )}
      <p>${button('Add a user', addUser, { kind: 'solid', icon: 'plus' })}</p>
    </section>`,
  tokens: () =>
    html`<section class="card wide" aria-labelledby="tokens">
      <h2 id="tokens">API tokens</h2>
      <p class="muted">For scripts, plugins and monitoring. A token is shown once, when it is made.</p>
      ${shown(data.tokens, (tokens) =>
        table('API tokens', tokens, [
          {
            label: 'Name',
            sort: ({ name }) => name,
            cell: ({ name, local }) =>
              html`${name}${local ? html` <span class="muted">of this machine</span>` : nothing}`,
          },
          { label: 'Role', sort: ({ role }) => role, cell: ({ role }) => role },
          { label: 'Made', sort: ({ created }) => created, cell: ({ created }) => when(created) },
          { label: 'Last used', cell: ({ lastUsed }) => (lastUsed === null ? 'never' : when(lastUsed)) },
          { label: 'Expires', cell: ({ expires }) => (expires === null ? 'never' : when(expires)) },
          {
            label: 'Actions',
            cell: (token) =>
              token.local
                ? nothing
                : button(
                    'Revoke',
                    () => {
                      revoke(token);
                    },
                    { kind: 'flat', danger: true },
                  ),
          },
        ]),
      )}
      <p>${button('Make a token', addToken, { kind: 'solid', icon: 'plus' })}</p>
    </section>`,
  storage: storageSettings,
  security: () =>
    html`${certificate()}
      <section class="card wide" aria-labelledby="names">
        <h2 id="names">Names and frames</h2>
        ${shown(
          data.security,
          ({ frameOrigins, apiNames }) =>
            html`<dl class="facts">
                <dt>Names of this API</dt>
                <dd>${apiNames.length === 0 ? 'none besides the addresses of this machine' : apiNames.join(', ')}</dd>
                <dt>May embed the console</dt>
                <dd>${frameOrigins.length === 0 ? 'nobody' : frameOrigins.join(', ')}</dd>
              </dl>
              <p>
                ${button('Change', () => {
                  changeSecurity(frameOrigins, apiNames);
                })}
              </p>`,
        )}
      </section>`,
  audit: () =>
    html`<section class="card wide" aria-labelledby="audit">
      <h2 id="audit">Audit log</h2>
      <p class="muted">Everything that was changed or refused, newest first. It cannot be edited here.</p>
      ${shown(data.audit, ({ items }) =>
        table(
          'Audit log',
          items,
          [
            { label: 'When', cell: ({ at }) => when(at) },
            {
              label: 'Who',
              cell: ({ who, address }) =>
                html`${who.name === '' ? 'nobody' : who.name}
                  <div class="muted">${address}</div>`,
            },
            { label: 'What', cell: ({ method, object }) => html`${method} ${object}` },
            {
              label: 'Result',
              cell: ({ status, code }) =>
                code === null ? state('success', 'done') : state('warning', `${status} ${code}`),
            },
          ],
          ({ who, object, method }) => `${who.name} ${method} ${object}`,
        ),
      )}
      <p>${button('Verify the log', () => void verify())}</p>
    </section>`,
};

function certificate(): unknown {
  return html`<section class="card wide" aria-labelledby="certificate">
    <h2 id="certificate">Certificate</h2>
    ${shown(
      data.certificate,
      ({ source, subject, issuer, names, notAfter, daysLeft, problem }) =>
        html`${problem === null ? nothing : note('danger', sentence(problem))}
          <dl class="facts">
            <dt>Where it is from</dt>
            <dd>
              ${source === 'own-ca' ? 'made by this node, with a certificate authority of its own' : 'given to this node'}
            </dd>
            <dt>Subject</dt>
            <dd>${subject}</dd>
            <dt>Issuer</dt>
            <dd>${issuer}</dd>
            <dt>Names</dt>
            <dd>${names.join(', ')}</dd>
            <dt>Good until</dt>
            <dd>
              ${when(notAfter)},
              ${daysLeft < 30 ? state('warning', `${plural(daysLeft, 'day')} left`) : `${plural(daysLeft, 'day')} left`}
            </dd>
          </dl>
          ${
            source === 'own-ca'
              ? html`<p class="muted">
                  Browsers warn until they trust this authority: its certificate is <code>tls/ca.pem</code> in the data
                  folder, also served as <code>/ca.pem</code> over plain HTTP on this port. Compare fingerprints before
                  you trust it.
                </p>`
              : nothing
          }`,
    )}
  </section>`;
}

function userActions(user: User): unknown {
  return html`<span class="actions">
    ${button(
      'Edit',
      () => {
        editUser(user);
      },
      { kind: 'flat' },
    )}
    ${button(
      'Password',
      () => {
        setPassword(user);
      },
      { kind: 'flat' },
    )}
    ${button('Log out', () => void logOutEverywhere(user), { kind: 'flat', disabled: user.sessions === 0 })}
    ${button(
      'Delete',
      () => {
        removeUser(user);
      },
      { kind: 'flat', danger: true },
    )}
  </span>`;
}

const NEW_PASSWORD = { label: 'Password', type: 'password', required: true, help: 'At least 12 characters.' } as const;

function changePassword(): void {
  openForm({
    title: 'Change your password',
    action: 'Change',
    steps: [
      {
        title: 'Password',
        intro: 'All other sessions of yours end.',
        fields: [
          { name: 'current', label: 'The password until now', type: 'password', required: true },
          { name: 'next', ...NEW_PASSWORD, label: 'The new password' },
        ],
      },
    ],
    submit: async (values) => {
      await call('PUT /session/password', { body: { current: values.secret('current'), next: values.secret('next') } });
      toast('success', 'Your password is changed');
    },
  });
}

function addUser(): void {
  openForm({
    title: 'Add a user',
    action: 'Add',
    steps: [
      {
        title: 'User',
        fields: [
          { name: 'name', label: 'Name', type: 'text', required: true },
          { name: 'role', label: 'Role', type: 'select', choices: ROLE_CHOICES },
          { name: 'password', ...NEW_PASSWORD },
        ],
      },
    ],
    submit: async (values) => {
      const name = values.text('name');
      await call('POST /users', {
        body: { name, role: values.text('role') as Role, password: values.secret('password') },
      });
      changed('users', 'audit');
      toast('success', `${name} can log in`);
    },
  });
}

function editUser({ name, role, enabled }: User): void {
  openForm({
    title: `User ${name}`,
    action: 'Save',
    steps: [
      {
        title: 'User',
        fields: [
          { name: 'role', label: 'Role', type: 'select', choices: ROLE_CHOICES, value: role },
          { name: 'enabled', label: 'May log in', type: 'checkbox', value: enabled },
        ],
      },
    ],
    submit: async (values) => {
      await call('PATCH /users/{user}', {
        params: { user: name },
        body: { role: values.text('role') as Role, enabled: values.flag('enabled') },
      });
      changed('users', 'audit');
    },
  });
}

function setPassword({ name }: User): void {
  openForm({
    title: `New password for ${name}`,
    action: 'Set',
    steps: [
      { title: 'Password', intro: 'All sessions of this user end.', fields: [{ name: 'password', ...NEW_PASSWORD }] },
    ],
    submit: async (values) => {
      await call('PUT /users/{user}/password', {
        params: { user: name },
        body: { password: values.secret('password') },
      });
      changed('users', 'audit');
      toast('success', `${name} has a new password`);
    },
  });
}

async function logOutEverywhere({ name }: User): Promise<void> {
  try {
    await call('DELETE /users/{user}/sessions', { params: { user: name } });
    toast('success', `${name} is logged out everywhere`);
  } catch (error) {
    toastProblem(`${name} is not logged out`, error);
  }
  changed('users', 'audit');
}

function removeUser({ name }: User): void {
  openForm({
    title: `Delete user ${name}?`,
    action: 'Delete',
    danger: true,
    steps: [{ title: 'Delete', intro: 'The user is logged out at once. What the audit log says about them stays.' }],
    submit: async () => {
      await call('DELETE /users/{user}', { params: { user: name } });
      changed('users', 'audit');
      toast('success', `${name} is deleted`);
    },
  });
}

function addToken(): void {
  openForm({
    title: 'Make an API token',
    action: 'Make',
    steps: [
      {
        title: 'Token',
        fields: [
          { name: 'name', label: 'Name', type: 'text', required: true, help: 'What it is for.' },
          { name: 'role', label: 'Role', type: 'select', choices: ROLE_CHOICES },
          {
            name: 'days',
            label: 'Good for',
            type: 'select',
            value: '365',
            choices: [
              { value: '30', label: '30 days' },
              { value: '365', label: 'A year' },
              { value: '', label: 'Ever' },
            ],
          },
        ],
      },
    ],
    submit: async (values) => {
      const days = values.text('days');
      const expires = days === '' ? {} : { expires: new Date(Date.now() + Number(days) * 86_400_000).toISOString() };
      const made = await call('POST /tokens', {
        body: { name: values.text('name'), role: values.text('role') as Role, ...expires },
      });
      changed('tokens', 'audit');
      return html`${note('warning', 'Copy it now: it cannot be shown again.')}
      ${fileBox(`${made.name}.token`, made.secret)}`;
    },
  });
}

function revoke({ name }: Token): void {
  openForm({
    title: `Revoke ${name}?`,
    action: 'Revoke',
    danger: true,
    steps: [{ title: 'Revoke', intro: 'Whatever uses this token is refused from now on.' }],
    submit: async () => {
      await call('DELETE /tokens/{token}', { params: { token: name } });
      changed('tokens', 'audit');
      toast('success', `${name} is revoked`);
    },
  });
}

function changeSecurity(frameOrigins: readonly string[], apiNames: readonly string[]): void {
  openForm({
    title: 'Names and frames',
    action: 'Save',
    steps: [
      {
        title: 'Names',
        fields: [
          {
            name: 'apiNames',
            label: 'Names of this API, one per line',
            type: 'lines',
            value: apiNames.join('\n'),
            help: 'Host names browsers and plugins use; they come into the certificate.',
          },
          {
            name: 'frameOrigins',
            label: 'Origins that may embed the console, one per line',
            type: 'lines',
            value: frameOrigins.join('\n'),
            help: 'Like https://vcenter.example; takes effect when the page is loaded again.',
          },
        ],
      },
    ],
    submit: async (values) => {
      await call('PUT /settings/security', {
        body: { frameOrigins: values.lines('frameOrigins'), apiNames: values.lines('apiNames') },
      });
      changed('security', 'certificate', 'audit');
      toast('success', 'Saved');
    },
  });
}

async function verify(): Promise<void> {
  try {
    const { ok, entries, findings } = await call('GET /audit/verify', {});
    if (ok) toast('success', `${plural(entries, 'entry', 'entries')}, none changed or missing`);
    else toast('danger', findings.join('; '));
  } catch (error) {
    toastProblem('The log could not be verified', error);
  }
}

customElements.define('gemel-settings', Settings);
