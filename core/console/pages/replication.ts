import { html } from 'lit';
import { View, empty, pageHead } from '../parts/view.ts';

class Replication extends View {
  override render(): unknown {
    return html`${pageHead('Replication', 'The same volumes on two or three nodes.')}
    ${empty(
      'sync',
      'This node stands alone',
      html`Keeping volumes in step on several nodes comes with the mirror, which this version does not have yet: what is
        acknowledged is on stable media of <b>this</b> node only. Until then, keep backups elsewhere.`,
    )}`;
  }
}

customElements.define('gemel-replication', Replication);
