import { html, nothing } from 'lit';
import { call } from '../api/client.ts';
import type { Item } from '../api/client.ts';
import { data } from '../api/data.ts';
import { Source } from '../api/source.ts';
import { fileBox } from '../parts/copy.ts';
import { choice } from '../parts/form.ts';
import { View, pageHead, sentence, shown, state } from '../parts/view.ts';
import { linkTo } from '../router.ts';

type Profile = Item<'GET /profiles'>;

const EVIDENCE: Readonly<
  Record<Profile['verified'][number]['evidence'], ['success' | 'info' | 'warning' | 'neutral', string]>
> = {
  tested: ['success', 'Tested'],
  replayed: ['info', 'Replayed'],
  written: ['warning', 'Untested'],
  missing: ['neutral', 'Not yet'],
};

/** A minute and more: the matrix itself does not change. */
const EVERY = 120_000;

class Connect extends View {
  static override properties = { name: {}, volume: { state: true } };
  /** Of a profile. */
  declare name: string | undefined;
  declare volume: string;
  readonly #profiles = new Source(
    () => call('GET /profiles', { background: true, query: this.volume === '' ? {} : { volume: this.volume } }),
    EVERY,
  );

  constructor() {
    super();
    this.volume = '';
    this.watch(this.#profiles, data.volumes);
  }

  override render(): unknown {
    return html`${pageHead('Connect a hypervisor', 'Choose where the hypervisor and the storage run; the settings are ready to use.')}
    ${shown(this.#profiles, (profiles) => {
      const profile =
        profiles.find((each) => each.id === this.name) ??
        profiles.find((each) => each.id === 'separate-block') ??
        profiles[0];
      return html`<div class="matrix">
        <ul class="profiles" aria-label="Deployments">
          ${profiles.map(
            ({ id, title, path }) =>
              html`<li>
                <a href=${linkTo('connect', id)} aria-current=${id === profile?.id ? 'true' : nothing}
                  >${title}<small>${path}</small></a
                >
              </li>`,
          )}
        </ul>
        ${profile === undefined ? nothing : this.#one(profile)}
      </div>`;
    })}`;
  }

  #one(profile: Profile): unknown {
    return html`<section class="card" aria-labelledby="profile-title">
      <h2 id="profile-title">${profile.title}</h2>
      <p>${profile.when}</p>
      <dl class="facts">
        <dt>Storage runs</dt>
        <dd>${profile.storage}</dd>
        <dt>Path</dt>
        <dd>${profile.path}</dd>
        <dt>Offload</dt>
        <dd>${profile.offload}</dd>
        ${profile.verified.map(
          ({ evidence, text }) =>
            html`<dt>${state(...EVIDENCE[evidence])}</dt>
              <dd>${sentence(text)}</dd>`,
        )}
      </dl>
      ${choice(
        'Fill in the settings for',
        [
          { value: '', label: 'no volume yet' },
          ...(data.volumes.value ?? []).map(({ name }) => ({ value: name, label: name })),
        ],
        this.volume,
        { name: 'volume', change: this.#choose },
      )}
      <ol class="steps">
        ${profile.steps.map(
          ({ title, text, files }) =>
            html`<li>
              <h3>${title}</h3>
              <p>${text}</p>
              ${files.map(({ name, content }) => fileBox(name, content))}
            </li>`,
        )}
      </ol>
    </section>`;
  }

  readonly #choose = (volume: string): void => {
    this.volume = volume;
    void this.#profiles.refresh();
  };
}

customElements.define('gemel-connect', Connect);
