// `gemel kvm gateway` in front of a libvirtd of a test.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import { atExit } from './cleanup.ts';
import type { KvmHost } from './kvm-host.ts';
import { killGroup, run } from './process.ts';
import type { RunResult } from './process.ts';
import { projectFile } from './project.ts';

export interface Gateway {
  readonly uri: string;
  readonly socket: string;
  /** Unmodified virsh, through the gateway. */
  readonly virsh: (...args: string[]) => Promise<RunResult>;
}

/** Runs `body` with a gateway. */
export async function withGateway(host: KvmHost, body: (gateway: Gateway) => Promise<void>): Promise<void> {
  const socket = join(host.libvirtd.folder, 'gateway.sock');
  const { api, token } = host.daemon.ready;
  const args = ['kvm', 'gateway', '--config', host.settingsFile, '--listen', socket];
  const child = spawn(process.execPath, [projectFile('bin', 'gemel.js'), ...args, '--api', api], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    env: { ...process.env, GEMEL_TOKEN: token },
  });
  let said = '';
  const gone = new Promise((resolve) => child.once('close', resolve));
  const forget = atExit(() => {
    killGroup(child, 'SIGKILL');
  });
  try {
    await new Promise<void>((resolve, reject) => {
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (text: string) => {
          said += text;
          if (said.includes('pool gemel for clients')) resolve();
        });
      }
      void gone.then(() => {
        reject(new Error(`the gateway did not start: ${said}`));
      });
    });
    const uri = `qemu+unix:///system?socket=${socket}`;
    await body({ uri, socket, virsh: (...more) => run('virsh', ['-q', '-c', uri, ...more], { timeoutMs: 60_000 }) });
    child.kill('SIGTERM');
    await gone;
    assert.equal(child.exitCode, 0, said);
  } catch (error) {
    if (error instanceof Error) error.message += `\n--- gateway ---\n${said.slice(-2000)}`;
    throw error;
  } finally {
    killGroup(child, 'SIGKILL');
    await gone;
    forget();
  }
}
