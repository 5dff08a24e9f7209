// What the console stands in: a browser (or a frame that follows docs/console.md), unless an entry says something else before
// the shell is loaded.
import { html } from 'lit';
import type { TemplateResult } from 'lit';
import { resume } from './session.ts';

export interface Surroundings {
  /** `pages`: our navigation, but no header: account and theme are matters of whatever is around us. */
  readonly chrome: 'full' | 'pages';
  /** Finds out whether somebody is logged in. Never rejects. */
  readonly begin: () => Promise<void>;
  /** What is shown while nobody is. */
  readonly closed: () => TemplateResult;
}

export let surroundings: Surroundings = {
  chrome: 'full',
  begin: resume,
  closed: () => html`<gemel-login></gemel-login>`,
};

export function standIn(other: Surroundings): void {
  surroundings = other;
}
