// The offload truth meter: what hosts asked the storage to do by itself, how much of it was done, and why the rest was not.
import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';
import { data } from '../api/data.ts';
import type { OffloadOf } from '../api/data.ts';
import { bytes, count, plural, when } from './format.ts';
import { note, sentence } from './view.ts';

const KINDS: Readonly<Record<string, string>> = {
  'extended-copy': 'Copy (XCOPY)',
  'populate-token': 'Copy, token (ODX)',
  'write-using-token': 'Copy by token (ODX)',
  'write-same': 'Zero (WRITE SAME)',
  unmap: 'Give back (UNMAP)',
  'compare-and-write': 'Lock (ATS)',
};

export function offloadMeter(name: string): TemplateResult {
  const offload = data.offload.value?.find((each) => each.volume === name);
  const findings = (data.findings.value ?? []).filter((each) => each.volume === name);
  return html`${offload === undefined ? nothing : verdict(offload)}
  ${offload === undefined || offload.hosts.every((host) => host.kinds.length === 0) ? nothing : hostTable(offload)}
  ${findings.map(({ level, host, text, remedy }) =>
    note(
      level === 'problem' ? 'danger' : level === 'note' ? 'info' : 'success',
      html`${host === null ? '' : html`<b>${host}</b>: `}${sentence(text)} ${remedy ?? ''}`,
    ),
  )}`;
}

function verdict({ hosts, offered }: OffloadOf): TemplateResult {
  const all = hosts.flatMap((host) => host.kinds);
  const used = all.reduce((sum, each) => sum + each.used, 0);
  const refused = all.reduce((sum, each) => sum + each.refused, 0);
  const saved = all.reduce((sum, each) => sum + each.sharedBytes + each.copiedBytes, 0);
  if (used + refused === 0) {
    return html`<p class="muted">
      No host has asked for anything yet. Offered: ${offered.map((kind) => KINDS[kind] ?? kind).join(', ')}.
    </p>`;
  }
  return html`<div class="truth">
    <progress
      class="truth-bar"
      .value=${used}
      .max=${used + refused}
      aria-label=${`${plural(used, 'command')} done by the storage, ${refused} refused`}
    ></progress>
    <p>
      <b>${count(used)}</b> done by the storage, <b>${count(refused)}</b> refused; ${bytes(saved)} did not cross the
      network.
    </p>
  </div>`;
}

function hostTable({ hosts }: OffloadOf): TemplateResult {
  return html`<div class="table-box" tabindex="0">
    <table aria-label="Offload by host">
      <thead>
        <tr>
          <th scope="col">Host</th>
          <th scope="col">What</th>
          <th scope="col" class="numeric">Done</th>
          <th scope="col" class="numeric">Without moving data</th>
          <th scope="col" class="numeric">Copied inside</th>
          <th scope="col" class="numeric">Refused</th>
          <th scope="col">Why</th>
        </tr>
      </thead>
      <tbody>
        ${hosts.flatMap(({ initiator, kinds }) =>
          kinds.map(
            (each) =>
              html`<tr>
                <td>${initiator}</td>
                <td>${KINDS[each.kind] ?? each.kind}</td>
                <td class="numeric">${count(each.used)}</td>
                <td class="numeric">${bytes(each.sharedBytes)}</td>
                <td class="numeric">${bytes(each.copiedBytes)}</td>
                <td class="numeric">${count(each.refused)}</td>
                <td>
                  ${each.reasons.map(({ reason, count: times }) => html`<div>${reason} (${times})</div>`)}
                  ${each.last === null ? nothing : html`<div class="muted">last ${when(each.last.at)}: ${each.last.told}</div>`}
                </td>
              </tr>`,
          ),
        )}
      </tbody>
    </table>
  </div>`;
}
