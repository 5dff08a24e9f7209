// Volumes that were deleted and are kept for a while, in case that was a mistake.
import { html, nothing } from 'lit';
import { call } from '../api/client.ts';
import type { Item } from '../api/client.ts';
import { changed, data } from '../api/data.ts';
import { bytes, when } from '../parts/format.ts';
import { openForm } from '../parts/form.ts';
import { table } from '../parts/table.ts';
import type { Column } from '../parts/table.ts';
import { toast, toastProblem } from '../parts/toast.ts';
import { button, note } from '../parts/view.ts';
import { forRole } from '../session.ts';

type Deleted = Item<'GET /deleted-volumes'>;

const columns: Column<Deleted>[] = [
  { label: 'Name', sort: ({ name }) => name, cell: ({ name }) => name },
  { label: 'Size', numeric: true, sort: ({ size }) => size, cell: ({ size }) => bytes(size) },
  { label: 'Where', sort: ({ pool, kind }) => pool ?? kind, cell: ({ pool, kind }) => pool ?? kind },
  { label: 'Snapshots', numeric: true, sort: ({ snapshots }) => snapshots, cell: ({ snapshots }) => snapshots },
  { label: 'Deleted', sort: ({ deleted }) => deleted, cell: ({ deleted }) => when(deleted) },
  { label: 'Kept until', sort: ({ until }) => until, cell: ({ until }) => when(until) },
  {
    label: '',
    cell: (each) =>
      forRole(
        'operator',
        html`${button('Restore', () => void restore(each))}
        ${button('Purge', () => {
          purge(each);
        })}`,
      ),
  },
];

/** The section of the page of volumes; nothing where none is kept. */
export function deletedVolumes(): unknown {
  const deleted = data.deletedVolumes.value ?? [];
  if (deleted.length === 0) return nothing;
  return html`<section class="card wide" aria-labelledby="volumes-deleted">
    <h2 id="volumes-deleted">Deleted</h2>
    <p>They can be restored until their time is over, or their pool needs the room. Nobody is served them.</p>
    ${table('Deleted volumes', deleted, columns, ({ name, pool }) => `${name} ${pool ?? ''}`)}
  </section>`;
}

async function restore({ id, name }: Deleted): Promise<void> {
  try {
    const volume = await call('POST /deleted-volumes/{name}/restore', { params: { name: id }, body: {} });
    changed('volumes', 'deletedVolumes', 'snapshots', 'pools', 'status', 'targets');
    toast('success', `${volume.name} is served again, with its data, snapshots and hosts`);
  } catch (error) {
    toastProblem(`${name} is not restored`, error);
  }
}

function purge({ id, name }: Deleted): void {
  openForm({
    title: `Purge ${name}?`,
    action: 'Purge',
    danger: true,
    steps: [{ title: 'Purge', intro: note('warning', 'Its space is given back now, and its data is gone for good.') }],
    submit: async () => {
      await call('DELETE /deleted-volumes/{name}', { params: { name: id } });
      changed('deletedVolumes', 'pools', 'status');
      toast('success', `The data of ${name} is gone`);
    },
  });
}
