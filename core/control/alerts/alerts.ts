// Looks at everything on a timer, says what changed, and sends it to the targets.
import { ServiceError, messageOf } from '../../base/errors.ts';
import {
  ALERT_HOLD,
  ALERT_INTERVAL,
  ALERT_SAVE,
  MAX_ALERT_SECRET,
  MAX_ALERT_TARGETS,
  MAX_PURGE,
} from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import { Turn } from '../../base/turn.ts';
import type { Timer, World } from '../../base/world.ts';
import type { Catalog } from '../catalog.ts';
import { SEVERITIES } from '../events.ts';
import type { EventObject, EventRecord, Events, Severity } from '../events.ts';
import { checkName } from '../names.ts';
import type { SecretBox } from '../secret-box.ts';
import { Delivery } from './delivery.ts';
import type { DeliveryView } from './delivery.ts';
import { emailSender } from './email.ts';
import { DeliveryError } from './notification.ts';
import type { Notification, Sender } from './notification.ts';
import type { Readings } from './readings.ts';
import type { AlertTargetRecord, EmailSettings, SyslogSettings, WebhookSettings } from './records.ts';
import { AlertStates, RULES, keyOf } from './rules.ts';
import type { Alert, AlertChange, RuleName, RuleSettings } from './rules.ts';
import { syslogSender } from './syslog.ts';
import { webhookSender } from './webhook.ts';

export interface AlertTargetRequest {
  readonly name: string;
  readonly atLeast: Severity;
  readonly email?: EmailSettings | undefined;
  readonly webhook?: WebhookSettings | undefined;
  readonly syslog?: SyslogSettings | undefined;
  /** Undefined: the one that is known stays, as long as it goes to the same receiver. */
  readonly secret?: string | undefined;
}

export interface AlertTargetView extends Omit<AlertTargetRecord, 'secret' | 'created'> {
  readonly kind: 'email' | 'webhook' | 'syslog';
  readonly hasSecret: boolean;
  readonly created: string;
  readonly delivery: DeliveryView;
}

export interface AlertRuleView extends RuleSettings {
  readonly rule: RuleName;
  readonly severity: Severity;
  readonly unit: string;
  readonly text: string;
  readonly defaultLimit: number;
}

export interface AlertsOptions {
  readonly catalog: Catalog;
  readonly events: Events;
  readonly readings: Readings;
  readonly box: SecretBox;
  readonly world: World;
  readonly log: Log;
  readonly version: string;
  /** False: another node of the cluster tells of what is wrong with it, which all see. Every node of its own when absent. */
  readonly isOurs?: (object: EventObject | undefined) => boolean;
}

/** Events of others that are sent as they happen; they have no end that could be told. */
const HAPPENINGS: ReadonlySet<string> = new Set(['job-failed', 'job-not-undone', 'scrub-damage', 'pool-inconsistent']);
const contextOf = (target: string): string => `alert-target ${target}`;

export class Alerts {
  readonly #options: AlertsOptions;
  readonly #states = new AlertStates(ALERT_HOLD);
  readonly #deliveries = new Map<string, Delivery>();
  readonly #turn = new Turn();
  #timer: Timer | undefined;
  #unwatch: (() => void) | undefined;
  #looks = 0;
  /** What this node has told the beginning of. */
  readonly #begun = new Set<string>();
  #noted: Promise<void> = Promise.resolve();

  /** Throws ServiceError folder-unusable when the secrets of the catalog belong to another key. */
  constructor(options: AlertsOptions) {
    this.#options = options;
    for (const record of options.catalog.alertTargets.values()) this.#open(record);
    const known = options.catalog.alertStates.values().filter(({ rule }) => rule in RULES);
    this.#states.restore(known.map((record) => ({ ...record, rule: record.rule as RuleName })));
  }

  /** Begins to look. */
  start(): void {
    const { catalog } = this.#options;
    this.#unwatch = catalog.watch((change) => {
      if (change.kind === 'alert-targets') this.#follow(change.id);
      if (change.kind === 'events' && change.value !== undefined) this.#happened(change.value);
    });
    this.#again();
  }

  /** Resolves when everything is noted that the next start has to know. */
  async stop(): Promise<void> {
    this.#timer?.cancel();
    this.#unwatch?.();
    for (const delivery of this.#deliveries.values()) delivery.close();
    await this.#noted;
    await this.#options.readings.save();
  }

  active(): Alert[] {
    return this.#states.active();
  }

  /** One look. The timer calls it; tests do too. */
  look(): void {
    const { readings, world } = this.#options;
    const { now, wall } = { now: world.clock.now(), wall: world.clock.wall() };
    const changes = this.#states.take(readings.take(), (rule) => this.#settings(rule), now, wall);
    for (const change of changes) this.#tell(change);
    if (changes.length > 0) this.#note(changes);
    if (++this.#looks % ALERT_SAVE === 0) this.#noted = this.#noted.then(() => readings.save());
  }

  /** After it was told: a crash in between tells it once more rather than never. */
  #note(changes: readonly AlertChange[]): void {
    const { catalog, log } = this.#options;
    this.#noted = this.#noted.then(async () => {
      const edits = changes.flatMap(({ state, rule, object, text, since }) => {
        const record = { rule, object, text, since };
        const key = keyOf(record);
        if (state === 'raised') return catalog.alertStates.edit(key, record);
        return catalog.alertStates.get(key) === undefined ? [] : catalog.alertStates.edit(key, undefined);
      });
      for (let at = 0; at < edits.length; at += MAX_PURGE) await catalog.apply(...edits.slice(at, at + MAX_PURGE));
    });
    this.#noted = this.#noted.catch((error: unknown) => {
      log.warn({ error: messageOf(error) }, 'what is wrong could not be noted: a restart tells it again');
    });
  }

  rules(): AlertRuleView[] {
    return (Object.keys(RULES) as RuleName[]).map((rule) => {
      const { severity, unit, text, limit } = RULES[rule];
      return { rule, severity, unit, text, defaultLimit: limit, ...this.#settings(rule) };
    });
  }

  knowsRule(rule: string): boolean {
    return Object.hasOwn(RULES, rule);
  }

  /** Throws ServiceError not-found. */
  rule(rule: string): AlertRuleView {
    const found = this.rules().find((each) => each.rule === rule);
    if (found === undefined) throw new ServiceError('not-found', `there is no rule '${rule.slice(0, 63)}'`);
    return found;
  }

  /** Changes a rule. Rejects with not-found, or bad-request for a limit where there is none to choose. */
  setRule(
    rule: string,
    { enabled, limit }: { enabled?: boolean | undefined; limit?: number | undefined },
  ): Promise<AlertRuleView> {
    return this.#turn.run(async () => {
      const found = this.rule(rule);
      if (limit !== undefined && rule === 'pool-filling') {
        throw new ServiceError('bad-request', 'each pool has its own threshold: gemel pool threshold NAME PERCENT');
      }
      if (limit !== undefined && found.unit === 'count') {
        throw new ServiceError('bad-request', `the rule ${rule} has no limit; it can be switched off`);
      }
      if (limit !== undefined && found.unit === 'percent' && limit > 100) {
        throw new ServiceError('bad-request', 'the limit is a number of percent, 1 to 100');
      }
      const { catalog } = this.#options;
      const record = { enabled: enabled ?? found.enabled, limit: limit ?? catalog.alertRules.get(rule)?.limit };
      await catalog.apply(catalog.alertRules.edit(rule, record));
      return { ...found, ...this.#settings(found.rule) };
    });
  }

  targets(): AlertTargetView[] {
    return this.#options.catalog.alertTargets.values().map((record) => this.#view(record));
  }

  /** Throws ServiceError not-found. */
  target(name: string): AlertTargetView {
    return this.#view(this.#record(name));
  }

  /** Makes a target, or replaces its settings. Rejects with bad-request or limit-reached. */
  put(request: AlertTargetRequest): Promise<AlertTargetView> {
    return this.#turn.run(async () => {
      const { catalog, box, world } = this.#options;
      const name = checkName(request.name, 'target of alerts');
      const before = catalog.alertTargets.get(name);
      if (before === undefined && catalog.alertTargets.size >= MAX_ALERT_TARGETS) {
        throw new ServiceError('limit-reached', `there are ${String(MAX_ALERT_TARGETS)} targets of alerts already`);
      }
      const { atLeast, email, webhook, syslog, secret } = request;
      checkTarget(request);
      const sealed =
        secret === undefined ? keptSecret(before, request) : box.seal(Buffer.from(secret), contextOf(name));
      const created = before?.created ?? world.clock.wall();
      const record: AlertTargetRecord = { name, atLeast, email, webhook, syslog, secret: sealed, created };
      // What is not there is left out: JSON knows no undefined.
      const clean = JSON.parse(JSON.stringify(record)) as AlertTargetRecord;
      await catalog.apply(catalog.alertTargets.edit(name, clean));
      this.#open(clean);
      return this.#view(clean);
    });
  }

  /** Throws ServiceError not-found. */
  remove(name: string): Promise<void> {
    return this.#turn.run(async () => {
      const { catalog } = this.#options;
      await catalog.apply(catalog.alertTargets.edit(this.#record(name).name, undefined));
      this.#deliveries.get(name)?.close();
      this.#deliveries.delete(name);
    });
  }

  /** Sends a test now. Rejects with not-found, or delivery-failed and the reason. */
  async test(name: string): Promise<AlertTargetView> {
    const record = this.#record(name);
    const text = `this is a test of the target ${name}; nothing is wrong`;
    const notification = this.#notification({ state: 'test', code: 'test', severity: 'info', object: undefined, text });
    try {
      await this.#deliveries.get(name)?.test(notification);
    } catch (error) {
      const why = error instanceof DeliveryError ? error.message : messageOf(error);
      throw new ServiceError('delivery-failed', `the test did not arrive: ${why.slice(0, 300)}`, { cause: error });
    }
    return this.#view(record);
  }

  #again(): void {
    this.#timer = this.#options.world.clock.after(ALERT_INTERVAL, () => {
      try {
        this.look();
      } catch (error) {
        this.#options.log.error({ error: messageOf(error) }, 'alerts could not be worked out');
      }
      this.#again();
    });
  }

  #settings(rule: RuleName): RuleSettings {
    const set = this.#options.catalog.alertRules.get(rule);
    return { enabled: set?.enabled ?? true, limit: set?.limit ?? RULES[rule].limit };
  }

  #tell({ state, rule, severity, object, text }: AlertChange): void {
    const over = state === 'cleared';
    const said = over ? `over: ${text}` : text;
    this.#options.events.post({
      severity: over ? 'info' : severity,
      code: over ? `${rule}-over` : rule,
      object,
      text: said,
    });
    this.#send(this.#notification({ state, code: rule, severity, object, text }));
  }

  /** An event somebody else posted. Our own are told apart by their codes, which only rules with an end have. */
  #happened({ code, severity, object, text, count }: EventRecord): void {
    if (!HAPPENINGS.has(code) || (count ?? 1) > 1) return;
    if (code === 'job-failed' && !this.#settings(code).enabled) return;
    this.#send(this.#notification({ state: 'happened', code, severity, object, text }));
  }

  #notification(what: Pick<Notification, 'state' | 'code' | 'severity' | 'object' | 'text'>): Notification {
    const { world, catalog, version } = this.#options;
    const id = world.random.bytes(12).toString('hex');
    return { ...what, id, time: world.clock.wall(), node: catalog.node.id, version };
  }

  /** In a cluster one node tells what is wrong with what all have in common: whoever looks after the object. */
  #send(notification: Notification): void {
    const { state, code, object } = notification;
    const key = `${code} ${object?.name ?? ''}`;
    // Who has told that it began tells that it is over, whoever looks after it by then.
    const begun = this.#begun.delete(key);
    if (this.#options.isOurs?.(object) === false && !(begun && state === 'cleared')) return;
    if (state === 'raised') this.#begun.add(key);
    const rank = SEVERITIES.indexOf(notification.severity);
    for (const { name, atLeast } of this.#options.catalog.alertTargets.values()) {
      if (rank >= SEVERITIES.indexOf(atLeast)) this.#deliveries.get(name)?.post(notification);
    }
  }

  #record(name: string): AlertTargetRecord {
    const record = this.#options.catalog.alertTargets.get(name);
    if (record === undefined)
      throw new ServiceError('not-found', `there is no target of alerts '${name.slice(0, 63)}'`);
    return record;
  }

  /** Another node may have made, changed or removed it. */
  #follow(name: string): void {
    const record = this.#options.catalog.alertTargets.get(name);
    if (record !== undefined) this.#open(record);
    else {
      this.#deliveries.get(name)?.close();
      this.#deliveries.delete(name);
    }
  }

  #open(record: AlertTargetRecord): void {
    const { world, log } = this.#options;
    this.#deliveries.get(record.name)?.close();
    this.#deliveries.set(record.name, new Delivery(record.name, this.#sender(record), world.clock, log));
  }

  #sender({ name, email, webhook, syslog, secret: sealed }: AlertTargetRecord): Sender {
    const { box, world } = this.#options;
    const secret = sealed === undefined ? undefined : box.open(sealed, contextOf(name)).toString();
    if (email !== undefined) return emailSender(email, secret);
    if (webhook !== undefined) return webhookSender(webhook, secret, () => world.clock.wall());
    if (syslog !== undefined) return syslogSender(syslog);
    throw new Error(`target ${name} has no settings`);
  }

  #view({ secret, created, ...record }: AlertTargetRecord): AlertTargetView {
    const delivery = this.#deliveries.get(record.name);
    if (delivery === undefined) throw new Error(`target ${record.name} is not open`);
    const kind = record.email !== undefined ? 'email' : record.webhook !== undefined ? 'webhook' : 'syslog';
    const shown = {
      ...record,
      kind,
      hasSecret: secret !== undefined,
      created: new Date(created).toISOString(),
    } as const;
    return { ...shown, delivery: delivery.view };
  }
}

/** Throws ServiceError bad-request. */
function checkTarget({ email, webhook, syslog, secret }: AlertTargetRequest): void {
  if ([email, webhook, syslog].filter((each) => each !== undefined).length !== 1) {
    throw new ServiceError('bad-request', 'a target has either email, webhook or syslog');
  }
  if (secret !== undefined && (secret === '' || Buffer.byteLength(secret) > MAX_ALERT_SECRET)) {
    throw new ServiceError('bad-request', `a secret has 1 to ${String(MAX_ALERT_SECRET)} bytes`);
  }
  if (syslog !== undefined && secret !== undefined) throw new ServiceError('bad-request', 'syslog knows no secret');
  if (webhook !== undefined) {
    const url = URL.canParse(webhook.url) ? new URL(webhook.url) : undefined;
    if (url?.protocol !== 'https:' || url.username !== '' || url.password !== '') {
      throw new ServiceError('bad-request', 'a webhook is an address like https://host/path, without a password in it');
    }
  }
  if (email?.user !== undefined && email.security === 'none') {
    throw new ServiceError('bad-request', 'a password is sent over TLS only: security is starttls or tls');
  }
}

/** A secret never goes to another receiver than the one it was given for. */
function keptSecret(before: AlertTargetRecord | undefined, now: AlertTargetRequest): AlertTargetRecord['secret'] {
  const mail = before?.email;
  const same =
    before?.webhook !== undefined
      ? before.webhook.url === now.webhook?.url
      : mail !== undefined &&
        mail.host === now.email?.host &&
        mail.port === now.email.port &&
        mail.user === now.email.user &&
        mail.security === now.email.security;
  return same ? before?.secret : undefined;
}
