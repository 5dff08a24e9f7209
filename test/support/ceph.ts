// A Ceph cluster of one monitor and three OSDs on this machine, with authentication, out of Debian's packages.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { atExit, temporaryFolder } from './cleanup.ts';
import { freePorts } from './net.ts';
import { needsAll } from './needs.ts';
import { runOk } from './process.ts';

/** Bytes of the file of an OSD, which is sparse. */
const OSD_BYTES = 4_294_967_296;
const OSDS = 3;
const SLOW = { timeoutMs: 60_000 };

/** What of Ceph is missing; false: nothing. */
export const needsCeph = (): string | false =>
  needsAll(
    ['ceph-mon', 'ceph-mon'],
    ['ceph-mgr', 'ceph-mgr'],
    ['ceph-osd', 'ceph-osd'],
    ['rbd', 'ceph-common'],
    ['qemu-storage-daemon', 'qemu-system-common'],
  );

export interface Ceph {
  /** Configuration without any key, the keyring of client.gemel, and the pool it may use. */
  readonly conf: string;
  readonly keyring: string;
  readonly pool: string;
  /** Standard output of a program, as client.admin. */
  run(program: string, ...args: string[]): Promise<string>;
  killOsd(number: number): void;
  startOsd(number: number): void;
  end(): void;
}

/** Resolves when all OSDs are up; takes about twenty seconds. */
export async function startCeph(): Promise<Ceph> {
  const folder = temporaryFolder('ceph');
  const at = (...names: string[]): string => join(folder.path, ...names);
  const children = new Map<string, ChildProcess>();
  const end = (): void => {
    for (const each of children.values()) each.kill('SIGKILL');
    folder.remove();
  };
  const forget = atExit(end);
  const conf = at('ceph.conf');
  const admin = at('admin.conf');
  const [first = 0, second = 0] = await freePorts(2);
  const address = `v2:127.0.0.1:${first},v1:127.0.0.1:${second}`;
  const fsid = randomUUID();
  const common = `[global]
fsid = ${fsid}
mon_host = [${address}]
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
`;
  writeFileSync(conf, common);
  writeFileSync(
    admin,
    `${common}auth_allow_insecure_global_id_reclaim = false
osd_crush_chooseleaf_type = 0
osd_pool_default_pg_autoscale_mode = off
osd_objectstore = bluestore
bluestore_block_size = ${OSD_BYTES}
bluestore_block_create = true
mon_osd_reporter_subtree_level = osd
osd_heartbeat_grace = 6
osd_heartbeat_interval = 2
mon_data_avail_warn = 2
mon_data = ${at('mon')}
mgr_data = ${at('mgr')}
osd_data = ${at('osd')}$id
keyring = ${at('keyring')}
log_file = ${at('log')}/$name.log
admin_socket = ${at('run')}/$name.asok
[client]
admin_socket =
`,
  );
  for (const each of ['mon', 'mgr', 'log', 'run']) mkdirSync(at(each));
  const run = async (program: string, ...args: string[]): Promise<string> =>
    (await runOk(program, ['--conf', admin, ...args], SLOW)).stdout;
  const tool = async (...args: string[]): Promise<string> => (await runOk('ceph-authtool', args, SLOW)).stdout;
  const start = (name: string, program: string, ...args: string[]): void => {
    children.set(name, spawn(program, ['--conf', admin, ...args, '-f'], { stdio: 'ignore' }));
  };
  const startOsd = (i: number): void => {
    start(`osd${i}`, 'ceph-osd', '-i', String(i), '--keyring', at(`osd${i}`, 'keyring'));
  };
  try {
    const all = ['--cap', 'mon', 'allow *', '--cap', 'osd', 'allow *', '--cap', 'mgr', 'allow *'];
    await tool('--create-keyring', at('keyring'), '--gen-key', '-n', 'mon.', '--cap', 'mon', 'allow *');
    await tool(at('keyring'), '--gen-key', '-n', 'client.admin', ...all);
    await tool(
      at('keyring'),
      '--gen-key',
      '-n',
      'mgr.x',
      '--cap',
      'mon',
      'allow profile mgr',
      '--cap',
      'osd',
      'allow *',
    );
    await runOk('monmaptool', ['--create', '--addv', 'a', `[${address}]`, '--fsid', fsid, at('monmap')], SLOW);
    await run('ceph-mon', '-i', 'a', '--mkfs', '--monmap', at('monmap'), '--keyring', at('keyring'));
    start('mon', 'ceph-mon', '-i', 'a');
    start('mgr', 'ceph-mgr', '-i', 'x');
    for (let i = 0; i < OSDS; i++) {
      const id = randomUUID();
      mkdirSync(at(`osd${i}`));
      const keyring = at(`osd${i}`, 'keyring');
      await tool('--create-keyring', keyring, '--gen-key', '-n', `osd.${i}`);
      const secret = (await tool(keyring, '-n', `osd.${i}`, '-p')).trim();
      writeFileSync(at('secret.json'), JSON.stringify({ cephx_secret: secret }), { mode: 0o600 });
      await run('ceph', 'osd', 'new', id, String(i), '-i', at('secret.json'));
      await run('ceph-osd', '-i', String(i), '--mkfs', '--osd-uuid', id, '--keyring', keyring);
      startOsd(i);
    }
    const pool = 'rbd';
    await run('ceph', 'osd', 'pool', 'create', pool, '16', '16');
    for (const until = Date.now() + 120_000; ;) {
      const { num_up_osds: up } = JSON.parse(await run('ceph', 'osd', 'stat', '--format', 'json')) as {
        num_up_osds: number;
      };
      if (up === OSDS) break;
      assert.ok(Date.now() < until, 'the OSDs do not come up');
    }
    await run('rbd', 'pool', 'init', pool);
    const keyring = at('client.gemel.keyring');
    const caps = ['mon', 'profile rbd', 'osd', `profile rbd pool=${pool}`];
    await run('ceph', 'auth', 'get-or-create', 'client.gemel', ...caps, '-o', keyring);
    return {
      ...{ conf, keyring, pool, run, startOsd },
      killOsd: (i) => void children.get(`osd${i}`)?.kill('SIGKILL'),
      end: () => {
        forget();
        end();
      },
    };
  } catch (error) {
    forget();
    end();
    throw error;
  }
}
