// Operational negotiation (RFC 7143 §13): every key as a row of data, one function that applies it.
import { FIRST_BURST, MAX_BURST, MAX_OUTSTANDING_R2T, MAX_RECV_DATA_SEGMENT } from '../../base/limits.ts';
import { parseNumber } from '../wire/text.ts';

/** What a login has settled. Lengths in bytes, times in seconds. */
export interface NegotiatedParameters {
  readonly headerDigest: boolean;
  readonly dataDigest: boolean;
  /** MaxRecvDataSegmentLength of the initiator: the most data we may put into one PDU. */
  readonly maxRecvInitiator: number;
  readonly maxBurst: number;
  readonly firstBurst: number;
  readonly initialR2T: boolean;
  readonly immediateData: boolean;
  readonly maxOutstandingR2T: number;
  readonly defaultTime2Wait: number;
  readonly defaultTime2Retain: number;
}

/** Values in force when a key is not negotiated (RFC 7143 §13). */
export const DEFAULT_PARAMETERS: NegotiatedParameters = {
  headerDigest: false,
  dataDigest: false,
  maxRecvInitiator: 8192,
  maxBurst: 262_144,
  firstBurst: 65_536,
  initialR2T: true,
  immediateData: true,
  maxOutstandingR2T: 1,
  defaultTime2Wait: 2,
  defaultTime2Retain: 20,
};

/** How the result of a key follows from both offers. */
type Rule =
  | { readonly kind: 'list'; readonly ours: readonly string[] }
  | { readonly kind: 'and' | 'or'; readonly ours: boolean }
  | { readonly kind: 'minimum' | 'maximum'; readonly ours: number; readonly from: number; readonly to: number }
  | { readonly kind: 'declare'; readonly from: number; readonly to: number };

interface KeyRow {
  readonly rule: Rule;
  /** Parameter the result is stored in; absent: the result is fixed by our offer. */
  readonly parameter?: keyof NegotiatedParameters;
  /** The key says nothing in a discovery session (RFC 7143 §13: "Irrelevant when: SessionType=Discovery"). */
  readonly normalOnly?: boolean;
}

const MAX_24 = 16_777_215;

export const KEYS: Readonly<Record<string, KeyRow>> = {
  HeaderDigest: { rule: { kind: 'list', ours: ['None', 'CRC32C'] }, parameter: 'headerDigest' },
  DataDigest: { rule: { kind: 'list', ours: ['None', 'CRC32C'] }, parameter: 'dataDigest' },
  MaxConnections: { rule: { kind: 'minimum', ours: 1, from: 1, to: 65_535 }, normalOnly: true },
  InitialR2T: { rule: { kind: 'or', ours: false }, parameter: 'initialR2T', normalOnly: true },
  ImmediateData: { rule: { kind: 'and', ours: true }, parameter: 'immediateData', normalOnly: true },
  MaxRecvDataSegmentLength: { rule: { kind: 'declare', from: 512, to: MAX_24 }, parameter: 'maxRecvInitiator' },
  MaxBurstLength: {
    rule: { kind: 'minimum', ours: MAX_BURST, from: 512, to: MAX_24 },
    parameter: 'maxBurst',
    normalOnly: true,
  },
  FirstBurstLength: {
    rule: { kind: 'minimum', ours: FIRST_BURST, from: 512, to: MAX_24 },
    parameter: 'firstBurst',
    normalOnly: true,
  },
  DefaultTime2Wait: { rule: { kind: 'maximum', ours: 2, from: 0, to: 3600 }, parameter: 'defaultTime2Wait' },
  // Time2Retain 0: a session is never kept for another connection to take over (ErrorRecoveryLevel 0).
  DefaultTime2Retain: { rule: { kind: 'minimum', ours: 0, from: 0, to: 3600 }, parameter: 'defaultTime2Retain' },
  MaxOutstandingR2T: {
    rule: { kind: 'minimum', ours: MAX_OUTSTANDING_R2T, from: 1, to: 65_535 },
    parameter: 'maxOutstandingR2T',
    normalOnly: true,
  },
  DataPDUInOrder: { rule: { kind: 'or', ours: true }, normalOnly: true },
  DataSequenceInOrder: { rule: { kind: 'or', ours: true }, normalOnly: true },
  ErrorRecoveryLevel: { rule: { kind: 'minimum', ours: 0, from: 0, to: 2 } },
  IFMarker: { rule: { kind: 'and', ours: false } },
  OFMarker: { rule: { kind: 'and', ours: false } },
  TaskReporting: { rule: { kind: 'list', ours: ['RFC3720'] }, normalOnly: true },
  // RFC 7144: level 1 is RFC 7143 without its additions.
  iSCSIProtocolLevel: { rule: { kind: 'minimum', ours: 1, from: 0, to: 31 } },
};

/** RFC 7143 §13.25: keys of the markers that are no more; rejected, but not as if nobody knew them. */
const MARKER_LENGTHS: ReadonlySet<string> = new Set(['IFMarkInt', 'OFMarkInt']);
/** Keys of the login phase that are not negotiated here. */
const LOGIN_ONLY: ReadonlySet<string> = new Set(['InitiatorName', 'TargetName', 'SessionType', 'AuthMethod']);

/** True for a key that means something in some phase; the others are NotUnderstood. */
export const isKnownKey = (key: string): boolean =>
  Object.hasOwn(KEYS, key) || MARKER_LENGTHS.has(key) || LOGIN_ONLY.has(key);

/** What to answer to one key, and the parameters after it. No answer: the key only declares something. */
export interface KeyOutcome {
  readonly answer: string | undefined;
  readonly parameters: NegotiatedParameters;
}

/** Applies the offer `key=value`. Unknown keys are NotUnderstood, inadmissible values Reject and change nothing. */
export function negotiate(
  key: string,
  value: string,
  parameters: NegotiatedParameters,
  discovery: boolean,
): KeyOutcome {
  const row = Object.hasOwn(KEYS, key) ? KEYS[key] : undefined;
  if (row === undefined) return { answer: MARKER_LENGTHS.has(key) ? 'Reject' : 'NotUnderstood', parameters };
  if (discovery && row.normalOnly === true) return { answer: 'Irrelevant', parameters };
  const outcome = apply(ruleNow(row, parameters), value);
  if (outcome === undefined) return { answer: 'Reject', parameters };
  const answer = row.rule.kind === 'declare' ? undefined : outcome.answer;
  if (row.parameter === undefined) return { answer, parameters };
  return { answer, parameters: { ...parameters, [row.parameter]: outcome.value } };
}

/**
 * RFC 7143 §13.14: FirstBurstLength must not exceed MaxBurstLength, so we offer no more than that. What both sides know
 * counts: an initiator that settles a shorter MaxBurstLength afterwards may still send what it was granted.
 */
function ruleNow({ rule, parameter }: KeyRow, { maxBurst }: NegotiatedParameters): Rule {
  if (parameter !== 'firstBurst' || rule.kind !== 'minimum') return rule;
  return { ...rule, ours: Math.min(rule.ours, maxBurst) };
}

/** The value the rule gives, as text and as stored. undefined: the offer is not admissible. */
function apply(rule: Rule, value: string): { answer: string; value: number | boolean } | undefined {
  switch (rule.kind) {
    case 'list': {
      // RFC 7143 §6.2.1: the first value of the offer that we support.
      const chosen = value.split(',').find((each) => rule.ours.includes(each));
      return chosen === undefined ? undefined : { answer: chosen, value: chosen !== 'None' };
    }
    case 'and':
    case 'or': {
      if (value !== 'Yes' && value !== 'No') return undefined;
      const result = rule.kind === 'and' ? rule.ours && value === 'Yes' : rule.ours || value === 'Yes';
      return { answer: result ? 'Yes' : 'No', value: result };
    }
    case 'minimum':
    case 'maximum':
    case 'declare': {
      const offered = parseNumber(value);
      if (offered === undefined || offered < rule.from || offered > rule.to) return undefined;
      if (rule.kind === 'declare') return { answer: value, value: offered };
      const result = rule.kind === 'minimum' ? Math.min(offered, rule.ours) : Math.max(offered, rule.ours);
      return { answer: String(result), value: result };
    }
  }
}

/** What we declare by ourselves in the operational stage. */
export const OUR_DECLARATIONS: readonly (readonly [string, string])[] = [
  ['MaxRecvDataSegmentLength', String(MAX_RECV_DATA_SEGMENT)],
];
