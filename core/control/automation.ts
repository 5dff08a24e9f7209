// What works by itself beside the requests: jobs, schedules, the end of deleted volumes. Put together in one place, for the
// daemon and for tests.
import type { Log } from '../base/log.ts';
import type { World } from '../base/world.ts';
import type { VolumeBackend } from './backend.ts';
import type { Catalog } from './catalog.ts';
import type { Events } from './events.ts';
import type { Hosts } from './hosts.ts';
import type { Copies } from './copies.ts';
import { copyKinds } from './jobs/copy-kinds.ts';
import { Jobs } from './jobs/jobs.ts';
import { poolKinds } from './jobs/pool-kinds.ts';
import { poolLifeKinds } from './jobs/pool-life-kinds.ts';
import { provisionKind } from './jobs/provision-kind.ts';
import { volumeKinds } from './jobs/volume-kinds.ts';
import type { PoolMoves } from './pool-moves.ts';
import type { PoolManager } from './pools.ts';
import type { Provisioner } from './provision.ts';
import { Schedules } from './schedules.ts';
import type { SecretBox } from './secret-box.ts';
import type { Snapshots } from './snapshots.ts';
import { Trash } from './trash.ts';
import type { Units } from './units.ts';

export interface AutomationOptions {
  readonly catalog: Catalog;
  readonly units: Units;
  readonly pools: PoolManager;
  readonly moves: PoolMoves;
  readonly backend: VolumeBackend;
  readonly provisioner: Provisioner;
  readonly snapshots: Snapshots;
  readonly hosts: Hosts;
  readonly events: Events;
  readonly box: SecretBox;
  /** In a cluster: the copies of volumes on its nodes. */
  readonly copies?: () => Copies | undefined;
  readonly world: World;
  readonly log: Log;
}

export interface Automation {
  readonly jobs: Jobs;
  readonly schedules: Schedules;
  readonly trash: Trash;
  /** Goes on with what an earlier run did not finish, and looks at the clock from now on. When everything is open. */
  readonly start: () => Promise<void>;
  /** Before anything is closed. */
  readonly stop: () => Promise<void>;
}

export function automation(options: AutomationOptions): Automation {
  const { clock } = options.world;
  const jobs = new Jobs(options);
  const trash = new Trash(options);
  const schedules = new Schedules({ ...options, clock });
  jobs.register([...poolKinds(options), ...poolLifeKinds(options)]);
  jobs.register([...volumeKinds({ ...options, trash, clock }), provisionKind(options)]);
  jobs.register(copyKinds({ copies: options.copies ?? (() => undefined), clock }));
  return {
    jobs,
    schedules,
    trash,
    start: async () => {
      await jobs.resume();
      schedules.start();
      trash.start();
    },
    stop: async () => {
      await schedules.stop();
      await trash.stop();
      await jobs.stop();
    },
  };
}
