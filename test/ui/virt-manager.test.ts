// Unmodified virt-manager in front of the gateway: its "+" makes a LUN.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import process from 'node:process';
import { describe, it } from 'node:test';
import { atExit, temporaryFolder } from '../support/cleanup.ts';
import { withGateway } from '../support/gateway.ts';
import { HOST_IQN, withKvmHost } from '../support/kvm-host.ts';
import { needsLibvirtd } from '../support/libvirtd.ts';
import { describeRun, killGroup, run } from '../support/process.ts';
import { projectFile } from '../support/project.ts';

const skip = needsLibvirtd(
  ['virt-manager', 'virt-manager'],
  ['Xvfb', 'xvfb'],
  ['openbox', 'openbox'],
  ['dbus-run-session', 'dbus'],
  ['import', 'imagemagick'],
  ['/usr/libexec/at-spi-bus-launcher', 'at-spi2-core'],
  ['/usr/lib/python3/dist-packages/dogtail', 'python3-dogtail'],
);
/** Seconds virt-manager may take for anything. */
const PATIENCE = 90;

/** Runs `body` with a display of its own. */
async function withDisplay(body: (display: string) => Promise<void>): Promise<void> {
  const server = spawn('Xvfb', ['-displayfd', '3', '-screen', '0', '1200x850x24', '-nolisten', 'tcp'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    detached: true,
  });
  const gone = new Promise((resolve) => server.once('close', resolve));
  const forget = atExit(() => {
    killGroup(server, 'SIGKILL');
  });
  try {
    const number = await new Promise<string>((resolve, reject) => {
      let said = '';
      server.stdio[3]?.on('data', (bytes: Buffer) => {
        said += bytes.toString();
        if (said.includes('\n')) resolve(said.trim());
      });
      void gone.then(() => {
        reject(new Error('Xvfb did not start'));
      });
    });
    await body(`:${number}`);
  } finally {
    killGroup(server, 'SIGKILL');
    await gone;
    forget();
  }
}

describe('virt-manager', { skip }, () => {
  it('makes a LUN with "+", and shows it', async () => {
    const pictures = projectFile('artifacts', 'ui');
    mkdirSync(pictures, { recursive: true });
    await withKvmHost({ chap: false }, async (host) => {
      await withGateway(host, async ({ uri }) => {
        await withDisplay(async (display) => {
          const home = temporaryFolder('home');
          try {
            const env = { HOME: home.path, XDG_RUNTIME_DIR: home.path, DISPLAY: display, VOLUME: 'from-virt-manager' };
            const files = ['session.sh', 'drive.py'].map((name) => projectFile('test', 'ui', 'virt-manager', name));
            const [session = '', driver = ''] = files;
            const result = await run('dbus-run-session', ['--', 'sh', session, uri, driver], {
              timeoutMs: 250_000,
              env: { ...env, PICTURES: pictures, PATIENCE: String(PATIENCE), PATH: process.env.PATH ?? '' },
            });
            assert.equal(result.code, 0, describeRun(result));
          } finally {
            home.remove();
          }
        });
        const made = await host.context.storage.volume('from-virt-manager');
        assert.deepEqual(
          made.maps.map(({ initiator }) => initiator),
          [HOST_IQN],
        );
      });
    });
  });
});
