// The flow every console shares (DESIGN §9): reserve, create, host with its credentials, map, ready; taken back when it fails.
import { ServiceError } from '../../base/errors.ts';
import type { Catalog } from '../catalog.ts';
import type { HostRequest, Hosts } from '../hosts.ts';
import { checkMapSubject } from '../names.ts';
import type { Provisioner } from '../provision.ts';
import { HOST_PREFIX } from '../records.ts';
import type { HostRecord, MapRecord, Sealed } from '../records.ts';
import type { SecretBox } from '../secret-box.ts';
import type { Units } from '../units.ts';
import { planVolume } from '../volume-request.ts';
import type { CreateVolume } from '../volume-request.ts';
import { identityOf } from '../../scsi/identity.ts';
import { jobKind } from './job.ts';
import type { AnyKind } from './job.ts';

export interface ProvisionJob {
  readonly volume: CreateVolume;
  /** A host that is made or changed on the way; the volume is mapped to it as well. */
  readonly host?:
    | (Omit<HostRequest, 'iqns'> & { readonly iqns: readonly string[]; readonly readOnly?: boolean | undefined })
    | undefined;
}

interface Provision {
  readonly id: string;
  readonly volume: CreateVolume;
  readonly maps: readonly MapRecord[];
  /** The host, with the secrets in it sealed; and what there was under its name before. */
  readonly host?: { readonly name: string; readonly sealed: Sealed; readonly before: HostRecord | null };
}

export interface ProvisionOptions {
  readonly catalog: Catalog;
  readonly units: Units;
  readonly provisioner: Provisioner;
  readonly hosts: Hosts;
  readonly box: SecretBox;
}

const sealFor = (id: string): string => `provision ${id}`;

export function provisionKind(options: ProvisionOptions): AnyKind {
  const { catalog, units, provisioner, hosts, box } = options;
  const isOurs = ({ volume, id }: Provision): boolean => catalog.volumes.get(volume.name)?.id === id;
  return jobKind<Provision, ProvisionJob>({
    kind: 'provision',
    resume: 'continue',
    cancellable: true,
    title: ({ volume }) => `provisioning of volume ${volume.name}`,
    object: ({ volume }) => ({ kind: 'volume', name: volume.name }),
    prepare: ({ volume, host }) => {
      const id = provisioner.newId();
      const { maps = [], ...rest } = volume;
      // Refused here rather than half way.
      planVolume(catalog, rest);
      const own = host === undefined ? [] : [{ who: HOST_PREFIX + host.name, readOnly: host.readOnly ?? false }];
      for (const { who } of maps) {
        const subject = checkMapSubject(who);
        if (subject !== own[0]?.who && !catalog.knowsSubject(subject)) {
          throw new ServiceError('not-found', `there is no ${subject.replace(':', ' ')}`);
        }
      }
      const all = [...maps.filter(({ who }) => who !== own[0]?.who), ...own];
      if (host === undefined) return { id, volume: rest, maps: all };
      const { name, iqns, profile, chap, mutual } = host;
      const wanted: HostRequest = { name, iqns, profile, chap, mutual };
      const sealed = box.seal(Buffer.from(JSON.stringify(wanted)), sealFor(id));
      return {
        id,
        volume: rest,
        maps: all,
        host: { name: host.name, sealed, before: catalog.hosts.get(host.name) ?? null },
      };
    },
    steps: ({ host }) => [
      {
        name: 'create',
        weight: 4,
        do: async ({ request, checkpoint }) => {
          checkpoint();
          if (!isOurs(request)) await provisioner.create(request.volume, undefined, request.id);
          return { naa: `naa.${identityOf(request.id).naa.toString('hex')}` };
        },
        undo: async ({ request }) => {
          if (isOurs(request)) await provisioner.delete(request.volume.name, false);
        },
      },
      ...(host === undefined
        ? []
        : [
            {
              name: 'host',
              do: async ({ request }: { request: Provision }) => {
                if (request.host === undefined) return undefined;
                const text = box.open(request.host.sealed, sealFor(request.id)).toString();
                await hosts.put(JSON.parse(text) as HostRequest);
                return { host: request.host.name };
              },
              undo: async ({ request }: { request: Provision }) => {
                if (request.host !== undefined)
                  await hosts.putBack(request.host.name, request.host.before ?? undefined);
              },
            },
          ]),
      {
        name: 'map',
        do: async ({ request, checkpoint }) => {
          for (const { who, readOnly } of request.maps) {
            checkpoint();
            await provisioner.map(request.volume.name, who, readOnly);
          }
          return { maps: request.maps.map(({ who }) => who) };
        },
        undo: async ({ request }) => {
          if (!isOurs(request)) return;
          for (const { who } of provisioner.volume(request.volume.name).maps) {
            await provisioner.unmap(request.volume.name, who);
          }
        },
      },
      {
        name: 'ready',
        do: ({ request }) => {
          const { name } = request.volume;
          if (units.unit(name) === undefined) {
            throw new ServiceError('io-error', `volume '${name}' is not served: ${units.problem(name) ?? 'unknown'}`);
          }
          const { target, lun } = provisioner.volume(name);
          const iqn = catalog.targets.get(target)?.iqn ?? '';
          const naa = `naa.${identityOf(request.id).naa.toString('hex')}`;
          return Promise.resolve({ name, iqn, lun, naa, maps: request.maps.map(({ who }) => who) });
        },
      },
    ],
  });
}
