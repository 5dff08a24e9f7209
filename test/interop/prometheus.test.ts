// The rules for Prometheus in its own checker, a real Prometheus that scrapes a real daemon with them, and the dashboard: nothing
// in either asks for a metric that the daemon does not have.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { atExit, temporaryFolder } from '../support/cleanup.ts';
import { withDaemon } from '../support/daemon.ts';
import { needs } from '../support/needs.ts';
import { freePorts } from '../support/net.ts';
import { killGroup, runOk } from '../support/process.ts';
import { projectFile } from '../support/project.ts';
import { needsQemuTools } from '../support/qemu.ts';

interface Panel {
  title: string;
  targets: { expr: string }[];
}

const rules = projectFile('manifests', 'prometheus', 'gemel.rules.yml');
const dashboard = JSON.parse(readFileSync(projectFile('manifests', 'grafana', 'gemel.json'), 'utf8')) as {
  panels: Panel[];
  templating: { list: { query: unknown }[] };
};
const namesIn = (text: string): string[] => [...new Set(text.match(/\bgemel_\w+/g) ?? [])].sort();
/** As Prometheus would see it: variables of Grafana mean something to Grafana only. */
const asQuery = (expr: string): string =>
  expr.replaceAll('$__rate_interval', '5m').replaceAll('$instance', '.*').replaceAll('$volume', '.*');

interface Result {
  status: string;
  error?: string;
  data: { result?: unknown[]; groups?: { rules: { health: string; lastError?: string }[] }[] };
}

describe('Prometheus', { skip: needs('promtool', 'prometheus') }, () => {
  it('finds nothing wrong with the rules, which fire when they should', async () => {
    await runOk('promtool', ['check', 'rules', '--lint=all', '--lint-fatal', rules]);
    await runOk('promtool', ['test', 'rules', projectFile('manifests', 'prometheus', 'gemel.test.yml')]);
    const folder = temporaryFolder('promtool');
    try {
      const config = readFileSync(projectFile('manifests', 'prometheus', 'prometheus.yml'), 'utf8');
      // The files it names are on the machine of Prometheus.
      const here = config
        .replace('[gemel.rules.yml]', `[${rules}]`)
        .replaceAll(/\/etc\/prometheus\/([\w.-]+)/g, (_, name: string) => {
          writeFileSync(join(folder.path, name), '');
          return join(folder.path, name);
        });
      writeFileSync(join(folder.path, 'prometheus.yml'), here);
      await runOk('promtool', ['check', 'config', join(folder.path, 'prometheus.yml')]);
    } finally {
      folder.remove();
    }
  });

  it(
    'scrapes a daemon, and every query of rules and dashboard means something',
    { skip: needsQemuTools() },
    async () => {
      const folder = temporaryFolder('prometheus');
      try {
        await withDaemon({}, async (daemon) => {
          const demo = daemon.ready.disks[0];
          assert.ok(demo);
          await runOk('qemu-io', [
            '-f',
            'raw',
            '-c',
            'write 0 1M',
            '-c',
            'read 0 1M',
            '-c',
            'write -z -u 0 1M',
            demo.url,
          ]);
          const at = (name: string): string => join(folder.path, name);
          const { host } = new URL(daemon.ready.api);
          writeFileSync(at('token'), daemon.ready.token, { mode: 0o600 });
          const pem = readFileSync(join(daemon.dataFolder, 'tls', 'ca.pem'), 'utf8');
          writeFileSync(
            at('ca.pem'),
            /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?/.exec(pem)?.[0] ?? '',
          );
          const config = readFileSync(projectFile('manifests', 'prometheus', 'prometheus.yml'), 'utf8')
            .replace('[gemel.rules.yml]', `[${rules}]`)
            .replace('/etc/prometheus/gemel.token', at('token'))
            .replace('/etc/prometheus/gemel-ca.pem', at('ca.pem'))
            .replace('127.0.0.1:7480', host);
          writeFileSync(at('prometheus.yml'), `global: { scrape_interval: 1s, evaluation_interval: 1s }\n${config}`);
          mkdirSync(at('data'));
          const [port = 0] = await freePorts(1);
          const args = [`--config.file=${at('prometheus.yml')}`, `--storage.tsdb.path=${at('data')}`];
          args.push(`--web.listen-address=127.0.0.1:${String(port)}`, '--log.level=warn');
          const child = spawn('prometheus', args, { stdio: 'ignore', detached: true });
          const gone = new Promise((resolve) => child.once('close', resolve));
          const forget = atExit(() => {
            killGroup(child, 'SIGKILL');
          });
          try {
            const ask = async (path: string): Promise<Result> =>
              (await (await fetch(`http://127.0.0.1:${String(port)}/api/v1/${path}`)).json()) as Result;
            const query = (expr: string): Promise<Result> => ask(`query?query=${encodeURIComponent(expr)}`);
            await eventually(
              'a scrape',
              async () => ((await query('up{job="gemel"} == 1')).data.result ?? []).length > 0,
            );
            for (const { title, targets } of dashboard.panels) {
              for (const { expr } of targets) {
                const { status, error } = await query(asQuery(expr));
                assert.equal(status, 'success', `${title}: ${expr}: ${error ?? ''}`);
              }
            }
            const wanted = namesIn(readFileSync(rules, 'utf8') + JSON.stringify(dashboard));
            const { data } = (await (
              await fetch(`http://127.0.0.1:${String(port)}/api/v1/label/__name__/values`)
            ).json()) as {
              data: string[];
            };
            // These come into being with what they count.
            const later = ['gemel_offload_refused_total', 'gemel_session_'];
            const unknown = wanted.filter(
              (name) => !data.includes(name) && !later.some((each) => name.startsWith(each)),
            );
            assert.deepEqual(unknown, []);
            const families = readFileSync(projectFile('core', 'api', 'metrics.ts'), 'utf8');
            for (const name of wanted)
              assert.ok(families.includes(`'${name.replace(/_(bucket|sum|count)$/, '')}'`), name);
            await eventually('an evaluation', async () => {
              const all = (await ask('rules')).data.groups?.flatMap((group) => group.rules) ?? [];
              for (const { health, lastError } of all) assert.notEqual(health, 'err', lastError);
              return all.length > 10 && all.every(({ health }) => health === 'ok');
            });
          } finally {
            killGroup(child, 'SIGKILL');
            await gone;
            forget();
          }
          await daemon.stop();
        });
      } finally {
        folder.remove();
      }
    },
  );
});

async function eventually(what: string, ask: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 60_000;
  for (;;) {
    try {
      if (await ask()) return;
    } catch (error) {
      // It does not listen yet (TypeError of fetch), or says in plain text that it is not ready (SyntaxError of JSON).
      if (!(error instanceof TypeError || error instanceof SyntaxError)) throw error;
    }
    assert.ok(performance.now() < end, `${what} within a minute`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
