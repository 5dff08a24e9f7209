import { pino } from 'pino';
import type { DestinationStream, Logger } from 'pino';
import type { Log, LogFields } from '../base/log.ts';

/** Names of fields whose content never reaches the log, whoever puts it there. */
const SECRETS = ['secret', 'token', 'password', 'authorization', 'chap', 'mutual'];
/** Bytes of log that may wait for a slow reader; more is dropped rather than kept in memory. */
const MAX_WAITING = 8_388_608;

export interface DaemonLog {
  readonly log: Log;
  /** Writes what waits, now. */
  flush(): void;
}

/** The log of the daemon, to standard error. */
export function daemonLog(level: string, format: 'auto' | 'json' | 'text'): DaemonLog {
  const text = format === 'text' || (format === 'auto' && process.stderr.isTTY);
  const destination = pino.destination({ fd: 2, sync: false, maxLength: MAX_WAITING });
  destination.on('error', () => undefined);
  return {
    log: logTo(text ? asText(destination) : destination, level),
    flush: () => {
      try {
        destination.flushSync();
      } catch {
        // Nobody reads the log any more.
      }
    },
  };
}

/** The same log to any stream of JSON lines. */
export function logTo(stream: DestinationStream, level: string): Log {
  const redact = { paths: SECRETS.flatMap((name) => [name, `*.${name}`]), censor: '[secret]' };
  const base = { pid: process.pid };
  return adapt(pino({ level, redact, base, timestamp: pino.stdTimeFunctions.isoTime }, stream));
}

function adapt(logger: Logger): Log {
  return {
    debug: (fields, message) => {
      logger.debug(fields, message);
    },
    info: (fields, message) => {
      logger.info(fields, message);
    },
    warn: (fields, message) => {
      logger.warn(fields, message);
    },
    error: (fields, message) => {
      logger.error(fields, message);
    },
    child: (fields: LogFields) => adapt(logger.child(fields)),
  };
}

const LEVEL_NAMES: Readonly<Record<number, string>> = {
  20: 'debug',
  30: 'info ',
  40: 'WARN ',
  50: 'ERROR',
  60: 'FATAL',
};

/** `12:34:56 info  session started initiator=iqn… peer=…`: for people who watch a terminal. */
function asText(destination: DestinationStream): DestinationStream {
  return {
    write: (line) => {
      const { level, time, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
      const shown = Object.entries(fields)
        .filter(([key]) => key !== 'pid')
        .map(([key, value]) => `${key}=${shownValue(value)}`);
      const clock = String(time).slice(11, 19);
      destination.write(`${[clock, LEVEL_NAMES[Number(level)] ?? String(level), String(msg), ...shown].join(' ')}\n`);
    },
  };
}

/** Quoted when it has spaces or control characters, which a peer may have put there. */
function shownValue(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return /^[\x21-\x7e]+$/.test(text) ? text : JSON.stringify(text);
}
