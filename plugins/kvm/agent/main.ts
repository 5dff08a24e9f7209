// `gemel kvm agent`, as systemd starts it: `node main.js [SETTINGS]`, by itself, without the rest of the command line, which would stay in memory
// on every host for nothing. Everything it needs is in the file.
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { ServiceError, messageOf } from '../../../core/base/errors.ts';
import { ApiClient } from '../../sdk/client.ts';
import { SETTINGS_FILE, readSettings } from '../settings.ts';
import { KvmStorage } from '../storage.ts';
import { runAgent } from './agent.ts';

async function main(file: string): Promise<void> {
  const settings = readSettings(file, {});
  const { api, tokenFile } = settings;
  if (api === undefined || tokenFile === undefined) {
    throw new ServiceError('bad-request', `${file} has to name "api" and "tokenFile"`);
  }
  const client = new ApiClient(api, readFileSync(tokenFile, 'utf8').trim());
  const over = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      over.abort();
    });
  }
  const storage = new KvmStorage(client.call.bind(client), client.list.bind(client));
  const log = (text: string): void => {
    process.stdout.write(`${text}\n`);
  };
  const [stream, call] = [client.stream.bind(client), client.call.bind(client)];
  await runAgent({ settings, storage, stream, call, log, signal: over.signal });
}

try {
  await main(process.argv[2] ?? SETTINGS_FILE);
} catch (error) {
  const known = error instanceof ServiceError ? error : new ServiceError('bad-request', messageOf(error));
  process.stderr.write(`gemel: ${known.message}. ${known.row.remedy}\n`);
  process.exitCode = known.row.exit;
}
