// What the catalog keeps of alerts.
import type { EventObject, Severity } from '../events.ts';
import type { Sealed } from '../records.ts';

export interface EmailSettings {
  readonly host: string;
  readonly port: number;
  readonly security: 'starttls' | 'tls' | 'none';
  readonly user?: string | undefined;
  readonly from: string;
  readonly to: readonly string[];
  /** PEM of an authority besides those of Node. */
  readonly ca?: string | undefined;
}

export interface WebhookSettings {
  /** https:// only. */
  readonly url: string;
  readonly ca?: string | undefined;
}

export interface SyslogSettings {
  readonly host: string;
  readonly port: number;
  readonly protocol: 'udp' | 'tcp' | 'tls';
  readonly ca?: string | undefined;
}

/** Where alerts go. Exactly one of the three has settings. */
export interface AlertTargetRecord {
  readonly name: string;
  /** Only this severity and worse. */
  readonly atLeast: Severity;
  readonly email?: EmailSettings | undefined;
  readonly webhook?: WebhookSettings | undefined;
  readonly syslog?: SyslogSettings | undefined;
  /** Password of the mail server, or key of the signature. */
  readonly secret?: Sealed | undefined;
  /** Milliseconds since 1970. */
  readonly created: number;
}

/** A rule that is not as it is by default; under its name. */
export interface AlertRuleRecord {
  readonly enabled?: boolean | undefined;
  readonly limit?: number | undefined;
}

/** Something that is wrong and has been told: a restart neither tells it again nor forgets that it has to be told as over. */
export interface AlertStateRecord {
  readonly rule: string;
  readonly object: EventObject;
  readonly text: string;
  /** Milliseconds since 1970. */
  readonly since: number;
}
