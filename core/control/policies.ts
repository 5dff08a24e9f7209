// Policies: what volumes have in common by name instead of one by one. Some of it says how a new volume is made; the rest holds for
// all volumes of the policy, from the moment it is changed.
import { ServiceError } from '../base/errors.ts';
import { MAX_POLICIES } from '../base/limits.ts';
import { Turn } from '../base/turn.ts';
import type { Clock } from '../base/world.ts';
import type { Catalog } from './catalog.ts';
import type { Edit } from './collection.ts';
import { checkName, printable } from './names.ts';
import type { Provisioner } from './provision.ts';
import type { PolicyRecord, VolumeRecord } from './records.ts';

/** What a policy says; what is undefined it leaves to whoever asks, or to the node. */
export type PolicySettings = Pick<PolicyRecord, 'durability' | 'replicas' | 'thin' | 'copyRoute' | 'keepDeleted'>;
/** null takes a setting away. */
export type PolicyChange = { readonly [K in keyof PolicySettings]?: PolicySettings[K] | null } & {
  readonly isDefault?: boolean | undefined;
};

/** The word of the command line for it. */
const NO_POLICY = 'none';

export class Policies {
  readonly #catalog: Catalog;
  readonly #provisioner: Provisioner;
  readonly #clock: Clock;
  readonly #turn = new Turn();

  constructor(catalog: Catalog, provisioner: Provisioner, clock: Clock) {
    this.#catalog = catalog;
    this.#provisioner = provisioner;
    this.#clock = clock;
  }

  list(): PolicyRecord[] {
    return this.#catalog.policies.values();
  }

  /** Throws ServiceError not-found. */
  get(name: string): PolicyRecord {
    const record = this.#catalog.policies.get(name);
    if (record === undefined) throw noPolicy(name);
    return record;
  }

  volumesOf(name: string): VolumeRecord[] {
    return this.#catalog.volumes.values().filter(({ policy }) => policy === name);
  }

  /** Rejects with bad-request, exists or limit-reached. */
  create(wantedName: string, settings: PolicyChange): Promise<PolicyRecord> {
    return this.#turn.run(async () => {
      const name = checkName(wantedName, 'policy');
      const { policies } = this.#catalog;
      if (name === NO_POLICY)
        throw new ServiceError('bad-request', `'${NO_POLICY}' is what a volume without a policy has`);
      if (policies.get(name) !== undefined) throw new ServiceError('exists', `there is a policy '${name}' already`);
      if (policies.size >= MAX_POLICIES) {
        throw new ServiceError('limit-reached', `there are ${String(MAX_POLICIES)} policies already`);
      }
      return this.#put(changed({ name, created: this.#clock.wall() }, settings));
    });
  }

  /** Rejects with not-found. How its volumes were made stays as it was. */
  change(name: string, settings: PolicyChange): Promise<PolicyRecord> {
    return this.#turn.run(() => this.#put(changed(this.get(name), settings)));
  }

  /** Rejects with not-found, or in-use while volumes have it. */
  remove(name: string): Promise<void> {
    return this.#provisioner.turn.run(() =>
      this.#turn.run(async () => {
        this.get(name);
        const volumes = this.volumesOf(name);
        if (volumes.length > 0) {
          const some = volumes.slice(0, 5).map((volume) => volume.name);
          const what = `${String(volumes.length)} volumes have it (${some.join(', ')}${volumes.length > 5 ? ', …' : ''})`;
          throw new ServiceError('in-use', `policy '${name}': ${what}`);
        }
        await this.#catalog.apply(this.#catalog.policies.edit(name, undefined));
      }),
    );
  }

  /** Another policy for a volume; undefined: none. How it was made stays. Rejects with not-found. */
  assign(volume: string, policy: string | undefined): Promise<VolumeRecord> {
    return this.#provisioner.turn.run(async () => {
      const { policy: before, ...rest } = this.#provisioner.volume(volume);
      const record: VolumeRecord = policy === undefined ? rest : { ...rest, policy: this.get(policy).name };
      if (before !== record.policy) await this.#catalog.apply(this.#catalog.volumes.edit(volume, record));
      return record;
    });
  }

  /** There is one default at most: the one before gives way. */
  async #put(record: PolicyRecord): Promise<PolicyRecord> {
    const { policies } = this.#catalog;
    const edits: Edit[] = [policies.edit(record.name, record)];
    if (record.isDefault === true) {
      for (const { isDefault, ...rest } of policies.values()) {
        if (isDefault === true && rest.name !== record.name) edits.push(policies.edit(rest.name, rest));
      }
    }
    await this.#catalog.apply(...edits);
    return record;
  }
}

export const noPolicy = (name: string): ServiceError =>
  new ServiceError('not-found', `there is no policy '${printable(name)}'`);

/** The record with what `change` gives; null takes away. */
function changed(record: PolicyRecord, change: PolicyChange): PolicyRecord {
  const merged = Object.entries({ ...record, ...given(change) });
  const kept = merged.filter(
    ([key, value]: [string, unknown]) => value !== null && (key !== 'isDefault' || value === true),
  );
  return Object.fromEntries(kept) as unknown as PolicyRecord;
}

const given = (change: PolicyChange): object =>
  Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
