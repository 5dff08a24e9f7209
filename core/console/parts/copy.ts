// Text to take along: copied with one click, or saved as a file.
import { html } from 'lit';
import type { TemplateResult } from 'lit';
import { toast } from './toast.ts';

export function copyable(text: string, label: string): TemplateResult {
  return html`<span class="copyable"
    ><code>${text}</code
    ><button type="button" class="plain" aria-label=${`Copy ${label}`} title="Copy" @click=${() => void copy(text)}>
      <cds-icon shape="copy-to-clipboard" size="sm"></cds-icon></button
  ></span>`;
}

/** A text of several lines, with its name. */
export function fileBox(name: string, content: string): TemplateResult {
  return html`<figure class="file">
    <figcaption>
      <span>${name}</span>
      <span>
        <button
          type="button"
          class="plain"
          aria-label=${`Copy ${name}`}
          title="Copy"
          @click=${() => void copy(content)}
        >
          <cds-icon shape="copy-to-clipboard" size="sm"></cds-icon>
        </button>
        <button
          type="button"
          class="plain"
          aria-label=${`Download ${name}`}
          title="Download"
          @click=${() => {
            save(name, content);
          }}
        >
          <cds-icon shape="download" size="sm"></cds-icon>
        </button>
      </span>
    </figcaption>
    <pre tabindex="0" aria-label=${name}>${content}</pre>
  </figure>`;
}

async function copy(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    toast('success', 'Copied');
  } catch {
    // A frame needs the permission of its parent for it.
    toast('info', 'The browser does not allow it here', 'Select the text and copy it with the keyboard.');
  }
}

function save(name: string, content: string): void {
  const url = URL.createObjectURL(new Blob([content], { type: 'text/plain' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
}
