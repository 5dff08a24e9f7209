// The shell: header, navigation, and the page somebody is on.
import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import { data } from './api/data.ts';
import { isFramed, joinFrame } from './frame.ts';
import { View } from './parts/view.ts';
import './parts/toast.ts';
import './pages/connect.ts';
import './pages/events.ts';
import './pages/hosts.ts';
import './pages/jobs.ts';
import './pages/login.ts';
import './pages/overview.ts';
import './pages/pools.ts';
import './pages/replication.ts';
import './pages/schedules.ts';
import './pages/settings.ts';
import './pages/volumes.ts';
import { linkTo, placeOf } from './router.ts';
import type { Place } from './router.ts';
import { logInWithToken, logOut, session } from './session.ts';
import { surroundings } from './surroundings.ts';
import favicon from './favicon.svg';
import { chooseTheme, currentTheme } from './theme.ts';
import { toastProblem } from './parts/toast.ts';

interface Page {
  readonly title: string;
  readonly icon: string;
  readonly show: (name: string | undefined) => TemplateResult;
}

const PAGES: Readonly<Record<string, Page>> = {
  overview: { title: 'Overview', icon: 'dashboard', show: () => html`<gemel-overview></gemel-overview>` },
  volumes: {
    title: 'Volumes',
    icon: 'hard-drive',
    show: (name) => html`<gemel-volumes .name=${name}></gemel-volumes>`,
  },
  pools: { title: 'Pools', icon: 'hard-drive-disks', show: (name) => html`<gemel-pools .name=${name}></gemel-pools>` },
  schedules: { title: 'Schedules', icon: 'calendar', show: () => html`<gemel-schedules></gemel-schedules>` },
  hosts: { title: 'Hosts and sessions', icon: 'host', show: (name) => html`<gemel-hosts .name=${name}></gemel-hosts>` },
  replication: { title: 'Replication', icon: 'sync', show: () => html`<gemel-replication></gemel-replication>` },
  jobs: { title: 'Jobs', icon: 'tasks', show: (name) => html`<gemel-jobs .name=${name}></gemel-jobs>` },
  events: { title: 'Events and alerts', icon: 'bell', show: () => html`<gemel-events></gemel-events>` },
  connect: {
    title: 'Connect a hypervisor',
    icon: 'connect',
    show: (name) => html`<gemel-connect .name=${name}></gemel-connect>`,
  },
  settings: {
    title: 'Settings',
    icon: 'cog',
    show: (name) => html`<gemel-settings .name=${name}></gemel-settings>`,
  },
};

class App extends View {
  static override properties = { place: { state: true }, chrome: { state: true }, starting: { state: true } };
  declare place: Place;
  declare chrome: 'full' | 'pages' | 'none';
  /** Not known yet whether somebody is logged in. */
  declare starting: boolean;

  constructor() {
    super();
    this.place = placeOf(location.hash);
    this.chrome = surroundings.chrome;
    this.starting = true;
    this.watch(data.status);
  }

  override connectedCallback(): void {
    super.connectedCallback();
    window.addEventListener('hashchange', this.#moved);
    session.addEventListener('change', this.#draw);
    void surroundings.begin().finally(() => {
      this.starting = false;
    });
    // Whoever carries our requests has no messages for us.
    if (surroundings.chrome !== 'full') return;
    joinFrame({
      onToken: (token) => {
        logInWithToken(token).catch((error: unknown) => {
          toastProblem('The frame has passed a token that does not work', error);
        });
      },
      onChrome: (chrome) => {
        this.chrome = chrome;
      },
    });
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    window.removeEventListener('hashchange', this.#moved);
    session.removeEventListener('change', this.#draw);
  }

  override render(): unknown {
    if (this.starting) return nothing;
    if (!session.open) return html`${surroundings.closed()}<gemel-toasts></gemel-toasts>`;
    const page = PAGES[this.place.page];
    const full = this.chrome === 'full';
    const bare = this.chrome === 'none';
    return html`<a class="skip" href="#content" @click=${this.#skip}>Skip to the content</a>
      ${full ? this.#header() : nothing}
      <div class=${bare ? 'body bare' : full ? 'body' : 'body top-less'}>
        ${bare ? nothing : this.#navigation()}
        <main id="content" tabindex="-1">
          ${page === undefined ? html`<h1>There is no such page</h1>` : page.show(this.place.name)}
        </main>
      </div>
      <gemel-toasts></gemel-toasts>`;
  }

  protected override updated(): void {
    const { page, name } = this.place;
    const title = PAGES[page]?.title ?? 'Gemel';
    document.title = session.open ? `${name === undefined ? title : `${name}, ${title}`} · Gemel` : 'Gemel';
  }

  #header(): TemplateResult {
    const theme = currentTheme();
    const other = theme === 'dark' ? 'light' : 'dark';
    const node = data.status.value?.node;
    const me = session.identity;
    return html`<header class="top">
      <a class="brand" href=${linkTo('overview')}><img src=${favicon} alt="" width="24" height="24" /> Gemel</a>
      <span class="node" title="This node">${node === undefined ? '' : `node ${node.slice(0, 8)}`}</span>
      <span class="spring"></span>
      ${data.status.problem === undefined ? nothing : html`<span class="offline" role="status">The daemon does not answer</span>`}
      ${me === undefined ? nothing : html`<a class="who" href=${linkTo('settings')} title="Your account">${me.name}, ${me.role}</a>`}
      ${
        isFramed()
          ? nothing
          : html`<button
              type="button"
              class="plain"
              aria-label=${`Use the ${other} theme`}
              title=${`Use the ${other} theme`}
              @click=${() => {
                chooseTheme(other);
                this.requestUpdate();
              }}
            >
              <cds-icon shape=${theme === 'dark' ? 'sun' : 'moon'} size="md"></cds-icon>
            </button>`
      }
      <button type="button" class="plain" aria-label="Log out" title="Log out" @click=${() => void logOut()}>
        <cds-icon shape="logout" size="md"></cds-icon>
      </button>
    </header>`;
  }

  #navigation(): TemplateResult {
    return html`<nav aria-label="Pages">
      <ul>
        ${Object.entries(PAGES).map(
          ([id, { title, icon }]) =>
            html`<li>
              <a href=${linkTo(id)} aria-current=${id === this.place.page ? 'page' : nothing}
                ><cds-icon shape=${icon} size="md"></cds-icon><span>${title}</span></a
              >
            </li>`,
        )}
      </ul>
    </nav>`;
  }

  readonly #draw = (): void => {
    this.requestUpdate();
  };

  readonly #moved = (): void => {
    // The skip link is no place.
    if (location.hash === '#content') return;
    this.place = placeOf(location.hash);
    void this.updateComplete.then(() => {
      // As a page that has been loaded: screen readers begin at its heading.
      this.querySelector<HTMLElement>('main h1')?.focus({ preventScroll: true });
      window.scrollTo(0, 0);
    });
  };

  readonly #skip = (event: Event): void => {
    event.preventDefault();
    this.querySelector<HTMLElement>('#content')?.focus();
  };
}

customElements.define('gemel-app', App);
