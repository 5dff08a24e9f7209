// `gemeld`: reads its options, takes the data folder, starts everything, and ends in an orderly way.
import { readFileSync } from 'node:fs';
import { homedir, totalmem } from 'node:os';
import { resolve } from 'node:path';
import { defaultDataFolder } from './base/data-folder.ts';
import { ERRORS, ServiceError, messageOf } from './base/errors.ts';
import { SHUTDOWN_LIMIT } from './base/limits.ts';
import { packageVersion } from './cli/version.ts';
import { startWitness, witnessOptions } from './daemon/cluster/witness.ts';
import { prepareFolder } from './daemon/data-files.ts';
import { lockFolder } from './daemon/folder-lock.ts';
import type { FolderLock } from './daemon/folder-lock.ts';
import { daemonLog } from './daemon/logger.ts';
import type { DaemonLog } from './daemon/logger.ts';
import { TextAnswer, readOptions } from './daemon/options.ts';
import { readyLine, readyText } from './daemon/ready.ts';
import { tellReady } from './daemon/service-manager.ts';
import { startDaemon } from './daemon/start.ts';
import type { RunningDaemon } from './daemon/start.ts';
import { loadNativeCrc } from './world/native-crc.ts';
import { nodeWorld } from './world/node-world.ts';

/** Ctrl-C reaches a launcher and us, and the launcher may pass it on: signals this close together (ms) are one. */
const SAME_SIGNAL = 500;

/** Exit status of a witness that its cluster has removed (ERRORS: cluster-removed); starting it again is of no use. */
const EXIT_REMOVED = ERRORS['cluster-removed'].exit;

/** `gemeld witness`. */
async function witness(argv: readonly string[]): Promise<void> {
  const options = witnessOptions(argv);
  const data = resolve(options.data);
  const world = await nodeWorld();
  await prepareFolder(world, data);
  const lock = lockFolder(data);
  const logging = daemonLog('info', 'auto');
  let end: () => Promise<void>;
  try {
    end = await startWitness({ ...options, data }, world, logging.log, () => {
      logging.flush();
      process.exit(EXIT_REMOVED);
    });
  } catch (error) {
    lock.release();
    logging.flush();
    throw error;
  }
  const stop = (): void => {
    void end().then(() => {
      logging.flush();
      process.exit(0);
    });
  };
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  process.stdout.write(`${JSON.stringify({ ready: true, pid: process.pid })}\n`);
}

async function main(): Promise<void> {
  // Keys, token, catalog and disks are for the daemon's own user only, whatever the folder they are in.
  process.umask(0o077);
  if (process.argv[2] === 'witness') {
    await witness(process.argv.slice(3));
    return;
  }
  const version = packageVersion();
  const user = { isRoot: process.getuid?.() === 0, home: homedir() };
  const defaultData = defaultDataFolder(user, process.env, process.platform);
  const options = readOptions({
    argv: process.argv.slice(2),
    env: process.env,
    readFile: (path) => readFileSync(path, 'utf8'),
    defaultData,
    memory: totalmem(),
    version,
  });
  const data = resolve(options.data);
  // In a checkout there is no gemel on the PATH; and the client looks in the default folder by itself.
  const client = process.env['npm_lifecycle_event'] === 'start' ? 'npx gemel' : 'gemel';
  const gemel = data === resolve(defaultData) ? client : `${client} --data ${data}`;
  const world = await nodeWorld();
  await prepareFolder(world, data);
  const lock = lockFolder(data);
  const logging = daemonLog(options.logLevel, options.logFormat);
  watchForDefects(logging);
  const daemon = new Current(
    (restart) => startDaemon({ ...options, data }, world, logging.log, version, restart),
    logging,
  );
  let running: RunningDaemon;
  try {
    await loadNativeCrc();
    running = await daemon.start();
  } catch (error) {
    lock.release();
    logging.flush();
    throw error;
  }
  stopOnSignals(daemon, lock, logging);
  const text = options.json ? `${readyLine(running.ready)}\n` : `${readyText(running.ready, version, data, gemel)}\n`;
  process.stdout.write(text);
  const { portals, disks } = running.ready;
  await tellReady(process.env, `${String(disks.length)} disks on ${portals.join(' ')}`, logging.log);
}

/** Milliseconds for the answer to the request that made a restart necessary. */
const LAST_WORDS = 500;

/** The daemon as it runs now: joining or leaving a cluster starts it anew within the process. */
class Current {
  readonly #begin: (restart: () => void) => Promise<RunningDaemon>;
  readonly #logging: DaemonLog;
  #running: Promise<RunningDaemon> | undefined;
  #stopping = false;

  constructor(begin: (restart: () => void) => Promise<RunningDaemon>, logging: DaemonLog) {
    this.#begin = begin;
    this.#logging = logging;
  }

  start(): Promise<RunningDaemon> {
    this.#running = this.#begin(() => {
      setTimeout(() => {
        this.#restart();
      }, LAST_WORDS);
    });
    return this.#running;
  }

  async reload(): Promise<void> {
    await (await this.#running)?.reload();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await (await this.#running)?.stop();
  }

  #restart(): void {
    if (this.#stopping) return;
    const { log } = this.#logging;
    log.info({}, 'starting again');
    const before = this.#running;
    const again = async (): Promise<RunningDaemon> => {
      await (await before)?.stop(true);
      const running = await this.start();
      log.info({ api: running.ready.api }, 'started again');
      return running;
    };
    // What cannot start again ends like any defect does, with its reason: whoever supervises us tries once more.
    this.#running = again();
  }
}

/** A defect ends the process: nobody knows what state it left. What was acknowledged is on disk. */
function watchForDefects(logging: DaemonLog): void {
  const { log } = logging;
  const end = (error: unknown): void => {
    log.error(
      { error: messageOf(error), stack: error instanceof Error ? error.stack : undefined },
      'defect: the daemon ends',
    );
    logging.flush();
    process.exit(ERRORS.internal.exit);
  };
  process.on('uncaughtException', end);
  process.on('unhandledRejection', end);
  // Whoever started us may stop reading what we print.
  process.stdout.on('error', () => undefined);
  process.stderr.on('error', () => undefined);
}

function stopOnSignals(running: Current, lock: FolderLock, logging: DaemonLog): void {
  const { log } = logging;
  let firstAt: number | undefined;
  const end = (status: number): void => {
    lock.release();
    logging.flush();
    process.exit(status);
  };
  const stop = (signal: NodeJS.Signals): void => {
    if (firstAt !== undefined) {
      if (performance.now() - firstAt < SAME_SIGNAL) return;
      log.warn({ signal }, 'second signal: ending at once');
      end(ERRORS.internal.exit);
    }
    firstAt = performance.now();
    log.info({ signal }, 'stopping: initiators are asked to log out');
    setTimeout(() => {
      log.error({}, 'stopping takes too long: ending at once');
      end(ERRORS.internal.exit);
    }, SHUTDOWN_LIMIT);
    void running.stop().then(() => {
      log.info({}, 'stopped');
      end(0);
    });
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  process.on('SIGHUP', () => {
    // A terminal that is closed says so by the same signal, and takes what was started in it along.
    if (process.stdin.isTTY || process.stdout.isTTY) {
      stop('SIGHUP');
      return;
    }
    log.info({}, 'looking at the certificate of the API again');
    void running.reload();
  });
}

try {
  await main();
} catch (error) {
  if (error instanceof TextAnswer) {
    process.stdout.write(error.message);
  } else if (error instanceof ServiceError) {
    process.stderr.write(`gemeld: ${error.message}. ${error.row.remedy}\n`);
    process.exitCode = error.row.exit;
  } else {
    process.stderr.write(`gemeld: ${messageOf(error)}. ${ERRORS.internal.remedy}\n`);
    process.exitCode = ERRORS.internal.exit;
  }
}
