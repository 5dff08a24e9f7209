// What can be done with a volume, each as a dialog.
import { html } from 'lit';
import { ApiProblem, call } from '../api/client.ts';
import { changed } from '../api/data.ts';
import type { Snapshot, Volume } from '../api/data.ts';
import { bytes, plural, when } from '../parts/format.ts';
import { openForm } from '../parts/form.ts';
import { subjectText } from '../parts/subjects.ts';
import { toast, toastProblem } from '../parts/toast.ts';
import { note } from '../parts/view.ts';
import { go } from '../router.ts';
import { checkName, mapFields, mapsOf } from './access-fields.ts';

export function grow(volume: Volume): void {
  openForm({
    title: `Grow ${volume.name}`,
    action: 'Grow',
    steps: [
      {
        title: 'Size',
        intro: `It has ${bytes(volume.size)}. Hosts that are logged in are told of the new size at once; there, rescan and grow the datastore or file system.`,
        fields: [
          {
            name: 'size',
            label: 'New size',
            type: 'size',
            required: true,
            value: bytes(volume.size * 2),
            check: (_text, values) =>
              (values.size('size') ?? 0) > volume.size
                ? undefined
                : `More than ${bytes(volume.size)}: the console never shrinks a volume.`,
          },
        ],
      },
    ],
    submit: async (values) => {
      const size = values.size('size') ?? 0;
      await call('PATCH /volumes/{name}', { params: { name: volume.name }, body: { size } });
      changed('volumes', 'pools', 'status');
      toast('success', `${volume.name} has ${bytes(size)} now`);
    },
  });
}

export function takeSnapshot(volume: Volume): void {
  const stamp = new Date().toISOString().slice(0, 19).replaceAll(':', '-').toLowerCase();
  openForm({
    title: `Snapshot of ${volume.name}`,
    action: 'Take the snapshot',
    steps: [
      {
        title: 'Snapshot',
        intro: 'It is as if the power had failed at this instant: databases and guests that flush recover from it.',
        fields: [{ name: 'name', label: 'Name', type: 'text', required: true, value: stamp, check: checkName }],
      },
    ],
    submit: async (values) => {
      const name = values.text('name');
      await call('POST /snapshots', { body: { volumes: [volume.name], name } });
      changed('snapshots', 'volumes', 'pools');
      toast('success', `Snapshot ${name} of ${volume.name} is there`);
    },
  });
}

export function clone(volume: Volume, snapshots: readonly Snapshot[], from?: Snapshot): void {
  openForm({
    title: `Clone ${volume.name}`,
    action: 'Clone',
    steps: [
      {
        title: 'Volume',
        intro: 'A new volume with the same content. It takes room only for what becomes different.',
        fields: [
          {
            name: 'name',
            label: 'Name of the clone',
            type: 'text',
            required: true,
            value: `${volume.name}-clone`,
            check: checkName,
          },
          {
            name: 'snapshot',
            label: 'Content',
            type: 'select',
            value: from?.name ?? '',
            choices: [
              { value: '', label: 'As it is now' },
              ...snapshots.map((each) => ({ value: each.name, label: `Snapshot ${each.name}, ${when(each.created)}` })),
            ],
          },
        ],
      },
      { title: 'Access', fields: mapFields() },
    ],
    submit: async (values) => {
      const name = values.text('name');
      const snapshot = values.text('snapshot');
      await call('POST /volumes/{name}/clone', {
        params: { name: volume.name },
        body: { name, ...(snapshot === '' ? {} : { snapshot }), maps: mapsOf(values) },
      });
      changed('volumes', 'snapshots', 'pools', 'status');
      toast('success', `${name} is a clone of ${volume.name}`);
      go('volumes', name);
    },
  });
}

export function map(volume: Volume): void {
  openForm({
    title: `Map ${volume.name}`,
    action: 'Map',
    steps: [
      {
        title: 'Access',
        intro: 'Whoever is named here sees the volume at its next login or rescan; those who see it already go on.',
        fields: mapFields(volume),
      },
    ],
    submit: async (values) => {
      for (const { initiator, access } of mapsOf(values)) {
        const params = { name: volume.name, initiator };
        await call('PUT /volumes/{name}/maps/{initiator}', { params, body: { access } });
      }
      changed('volumes', 'initiators', 'hosts');
      toast('success', `${volume.name} is mapped`);
    },
  });
}

export function unmap(volume: Volume, initiator: string): void {
  openForm({
    title: 'Take the volume away?',
    action: 'Unmap',
    danger: true,
    steps: [
      {
        title: 'Unmap',
        intro: html`<b>${subjectText(initiator)}</b> will not see ${volume.name} any more, at once. Take it out of use
          there first.`,
      },
    ],
    submit: async () => {
      await call('DELETE /volumes/{name}/maps/{initiator}', { params: { name: volume.name, initiator } });
      changed('volumes', 'initiators', 'hosts');
      toast('success', `${subjectText(initiator)} does not see ${volume.name} any more`);
    },
  });
}

export function remove(volume: Volume): void {
  openForm({
    title: `Delete ${volume.name}?`,
    action: 'Delete',
    danger: true,
    steps: [
      {
        title: 'Delete',
        intro: note(
          'warning',
          `No host sees it any more, at once. What is on it is kept for a while, and can be restored.`,
        ),
        fields: [
          {
            name: 'confirm',
            label: `Type ${volume.name} to confirm`,
            type: 'text',
            required: true,
            check: (text) => (text === volume.name ? undefined : `Type exactly ${volume.name}.`),
          },
          ...(volume.snapshots > 0
            ? [
                {
                  name: 'withSnapshots',
                  label: `Its ${plural(volume.snapshots, 'snapshot')} too`,
                  type: 'checkbox' as const,
                },
              ]
            : []),
          {
            name: 'purge',
            label: `Give its space back now (${bytes(volume.allocatedBytes ?? 0)}): nothing can be restored`,
            type: 'checkbox',
          },
          {
            name: 'force',
            label: `Even while it is in use (${volume.sessions} sessions see it)`,
            type: 'checkbox',
            when: () => volume.sessions > 0,
          },
        ],
      },
    ],
    submit: async (values) => {
      const query = {
        ...(values.flag('force') ? { force: 'true' as const } : {}),
        ...(values.flag('withSnapshots') ? { withSnapshots: 'true' as const } : {}),
        ...(values.flag('purge') ? { purge: 'true' as const } : {}),
      };
      try {
        await call('DELETE /volumes/{name}', { params: { name: volume.name }, query });
      } catch (error) {
        throw inConsole(error);
      }
      changed('volumes', 'deletedVolumes', 'snapshots', 'pools', 'status', 'targets');
      toast('success', `${volume.name} is deleted`);
      go('volumes');
    },
  });
}

/** The catalogue tells people at a terminal which flag they need; here it is a box to tick. */
function inConsole(error: unknown): unknown {
  if (!(error instanceof ApiProblem)) return error;
  const remedy = error.remedy
    .replace('--force', 'the box above ticked')
    .replace('--with-snapshots', 'the box for its snapshots');
  return new ApiProblem({ status: error.status, code: error.code, detail: error.message, remedy });
}

export function removeSnapshot(snapshot: Snapshot): void {
  openForm({
    title: `Delete snapshot ${snapshot.name}?`,
    action: 'Delete',
    danger: true,
    steps: [
      {
        title: 'Delete',
        intro: `Of ${snapshot.volume}, taken ${when(snapshot.created)}. The volume itself stays as it is.`,
      },
    ],
    submit: async () => {
      await call('DELETE /volumes/{name}/snapshots/{snapshot}', {
        params: { name: snapshot.volume, snapshot: snapshot.name },
      });
      changed('snapshots', 'volumes', 'pools');
      toast('success', `Snapshot ${snapshot.name} is deleted`);
    },
  });
}

export function rollBack(snapshot: Snapshot): void {
  openForm({
    title: `Roll ${snapshot.volume} back?`,
    action: 'Roll back',
    danger: true,
    steps: [
      {
        title: 'Roll back',
        intro: note(
          'warning',
          `Everything written to ${snapshot.volume} since ${when(snapshot.created)} is lost. No host may have it in use.`,
        ),
      },
    ],
    submit: async () => {
      const params = { name: snapshot.volume, snapshot: snapshot.name };
      await call('POST /volumes/{name}/snapshots/{snapshot}/rollback', { params });
      changed('snapshots', 'volumes', 'pools');
      toast('success', `${snapshot.volume} is what it was at ${when(snapshot.created)}`);
    },
  });
}

export async function reopen(volume: Volume): Promise<void> {
  try {
    await call('POST /volumes/{name}/reopen', { params: { name: volume.name } });
    toast('success', `${volume.name} is served again`);
  } catch (error) {
    toastProblem(`${volume.name} could not be opened`, error);
  }
  changed('volumes', 'status');
}
