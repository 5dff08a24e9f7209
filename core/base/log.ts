/** Structured fields of a log line. Never put a secret here. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** What the layers need of a log; the daemon passes pino behind it, tests pass an array. */
export interface Log {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
  /** The same log with `fields` added to every line. */
  child(fields: LogFields): Log;
}

/** Keeps nothing; for callers that have no log. */
export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
};
