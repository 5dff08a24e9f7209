// kill -9 of a real daemon at commits of the journal of a provisioning job: the next start goes on, and what the job was for is
// there once, whole. (Every commit of every kind of job: job-kinds.test.ts.)
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApiClient } from '../../plugins/sdk/client.ts';
import { temporaryFolder } from '../support/cleanup.ts';
import { withDaemon } from '../support/daemon.ts';
import type { Daemon } from '../support/daemon.ts';
import { HOOK } from '../support/die-at-commit.ts';

const IQN = 'iqn.2026-01.example.host:crash';

interface Job {
  readonly id: string;
  readonly state: string;
  readonly steps: readonly { readonly name: string; readonly state: string }[];
}

const clientOf = (daemon: Daemon): ApiClient => new ApiClient(daemon.ready.api, daemon.ready.token);

async function gone(pid: number): Promise<void> {
  for (;;) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await sleep(20);
  }
}

describe('a daemon that is killed in the middle of a job', { timeout: 170_000 }, () => {
  it('goes on at its next start, whichever commit of the journal it was at', async () => {
    const folder = temporaryFolder('die');
    const file = join(folder.path, 'when');
    const env = { NODE_OPTIONS: `--import ${HOOK}`, DIE_FILE: file };
    try {
      await withDaemon({ args: ['--no-demo'], env }, async (daemon) => {
        await daemon.gemelJson(['pool', 'create', 'tank', '--size', '64M']);
        // Of nine: submit, then begin and end of each of the four steps. Alternately before and after it is durable.
        for (const [made, at] of [1, 4, 7, 8].entries()) {
          const when = at % 2 === 0 ? 'after' : 'before';
          const where = `${when} commit ${String(at)}`;
          const name = `v${String(at)}`;
          const request = {
            volume: { name, size: 8 << 20, maps: [{ initiator: 'loopback' }] },
            host: { name: `h${String(at)}`, iqns: [`${IQN}${String(at)}`] },
          };
          const body = { kind: 'provision', key: `key-${String(at)}`, request };
          writeFileSync(file, `${when} ${String(at)}`);
          const { pid } = daemon.ready;
          await clientOf(daemon)
            .call('POST', '/jobs', body)
            .catch(() => undefined);
          await gone(pid);
          assert.ok(!existsSync(file), `${where}: it was killed there`);
          await daemon.crash();
          await daemon.start();
          // Whoever asked does not know what became of it, and asks again with the same key.
          const again = (await clientOf(daemon).call('POST', '/jobs', body)) as Job;
          const over = (await clientOf(daemon).call('GET', `/jobs/${again.id}?wait=50`)) as Job;
          assert.equal(over.state, 'done', `${where}: ${JSON.stringify(over)}`);
          const jobs = (await clientOf(daemon).list(`/jobs?name=${name}`)) as Job[];
          assert.deepEqual(
            jobs.map(({ id }) => id),
            [over.id],
            where,
          );
          const disks = (await clientOf(daemon).list('/volumes')) as { name: string; maps: { initiator: string }[] }[];
          assert.equal(disks.length, made + 1, `${where}: every volume is there once`);
          const maps = disks.find((disk) => disk.name === name)?.maps.map(({ initiator }) => initiator);
          assert.deepEqual(maps, ['loopback', `host:h${String(at)}`], where);
        }
        const { findings } = (await clientOf(daemon).call('POST', '/pools/tank/check')) as { findings: unknown[] };
        assert.deepEqual(findings, []);
      });
    } finally {
      folder.remove();
    }
  });
});
