// The messages of etcd's API v3 that we use: etcdserverpb (rpc.proto), mvccpb (kv.proto). Field numbers are theirs. No I/O.
import { MessageReader, MessageWriter } from './protobuf.ts';

export interface KeyValue {
  readonly key: string;
  readonly value: Buffer;
  readonly modRevision: number;
}

export interface RangeRequest {
  readonly key: string;
  /** All keys from `key` up to here, exclusively; undefined: just `key`. */
  readonly end?: string;
  /** At most so many; 0: all. */
  readonly limit?: number;
  /** The store as it was then; 0: as it is. */
  readonly revision?: number;
}

export interface RangeResponse {
  readonly revision: number;
  readonly kvs: readonly KeyValue[];
  readonly more: boolean;
}

/** A key has this mod_revision; 0: there is no such key. */
export interface Compare {
  readonly key: string;
  readonly modRevision: number;
}

export type Operation =
  | { readonly put: { readonly key: string; readonly value: Buffer } }
  | { readonly remove: { readonly key: string; readonly end?: string } };

export interface TxnResponse {
  readonly revision: number;
  readonly succeeded: boolean;
}

export interface WatchEvent {
  readonly key: string;
  /** Undefined: deleted. */
  readonly value: Buffer | undefined;
  readonly modRevision: number;
}

export interface WatchResponse {
  readonly revision: number;
  readonly created: boolean;
  readonly canceled: boolean;
  /** Above 0: what was to be watched from is compacted. */
  readonly compactRevision: number;
  readonly reason: string;
  readonly events: readonly WatchEvent[];
}

export interface Member {
  readonly id: bigint;
  /** Empty while it has not started. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  readonly isLearner: boolean;
}

export interface MemberStatus {
  readonly clusterId: bigint;
  readonly memberId: bigint;
  readonly version: string;
  /** Bytes. */
  readonly dbSize: number;
  /** 0: none. */
  readonly leader: bigint;
  readonly raftIndex: number;
  /** Alarms, such as that of a full store. */
  readonly errors: readonly string[];
}

const revisionOf = (response: MessageReader): number => response.message(1).number(3);

export function rangeRequest({ key, end = '', limit = 0, revision = 0 }: RangeRequest): Buffer {
  return new MessageWriter().bytes(1, key).bytes(2, end).number(3, limit).number(4, revision).finish();
}

function keyValue(message: MessageReader): KeyValue {
  return { key: message.text(1), modRevision: message.number(3), value: message.bytes(5) };
}

export function rangeResponse(bytes: Buffer): RangeResponse {
  const message = new MessageReader(bytes);
  return { revision: revisionOf(message), kvs: message.messages(2).map(keyValue), more: message.flag(3) };
}

export function txnRequest(compares: readonly Compare[], operations: readonly Operation[]): Buffer {
  const request = new MessageWriter();
  for (const { key, modRevision } of compares) {
    // result EQUAL (0), target MOD (2)
    const compare = new MessageWriter().number(2, 2).bytes(3, key);
    // A field of a oneof is sent even when it is 0; a reader takes an absent one as 0 all the same.
    request.message(1, compare.number(6, modRevision));
  }
  for (const operation of operations) {
    if ('put' in operation) {
      const { key, value } = operation.put;
      request.message(2, new MessageWriter().message(2, new MessageWriter().bytes(1, key).bytes(2, value)));
    } else {
      const { key, end = '' } = operation.remove;
      request.message(2, new MessageWriter().message(3, new MessageWriter().bytes(1, key).bytes(2, end)));
    }
  }
  return request.finish();
}

export function txnResponse(bytes: Buffer): TxnResponse {
  const message = new MessageReader(bytes);
  return { revision: revisionOf(message), succeeded: message.flag(2) };
}

export function watchCreateRequest(key: string, end: string, startRevision: number): Buffer {
  const create = new MessageWriter().bytes(1, key).bytes(2, end).number(3, startRevision);
  return new MessageWriter().message(1, create).finish();
}

export function watchResponse(bytes: Buffer): WatchResponse {
  const message = new MessageReader(bytes);
  const events = message.messages(11).map((event): WatchEvent => {
    const { key, value, modRevision } = keyValue(event.message(2));
    // type PUT (0), DELETE (1)
    return { key, modRevision, value: event.number(1) === 1 ? undefined : value };
  });
  return {
    revision: revisionOf(message),
    created: message.flag(3),
    canceled: message.flag(4),
    compactRevision: message.number(5),
    reason: message.text(6),
    events,
  };
}

function member(message: MessageReader): Member {
  return {
    id: message.id(1),
    name: message.text(2),
    peerUrls: message.texts(3),
    clientUrls: message.texts(4),
    isLearner: message.flag(5),
  };
}

export function memberAddRequest(peerUrl: string): Buffer {
  return new MessageWriter().bytes(1, peerUrl).flag(2, true).finish();
}

export const memberAddResponse = (bytes: Buffer): Member => member(new MessageReader(bytes).message(2));

/** Of MemberRemove and MemberPromote. */
export const memberIdRequest = (id: bigint): Buffer => new MessageWriter().number(1, id).finish();

export const emptyRequest = (): Buffer => Buffer.alloc(0);

export const memberListResponse = (bytes: Buffer): Member[] => new MessageReader(bytes).messages(2).map(member);

export function statusResponse(bytes: Buffer): MemberStatus {
  const message = new MessageReader(bytes);
  return {
    clusterId: message.message(1).id(1),
    memberId: message.message(1).id(2),
    version: message.text(2),
    dbSize: message.number(3),
    leader: message.id(4),
    raftIndex: message.number(5),
    errors: message.texts(8),
  };
}
