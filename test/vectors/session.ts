// A conversation byte by byte (RFC 7143 §11): each request as an initiator sends it, and the answer the standard asks for.
// Written from the field tables of the standard, not from the code.

import { length, padded, text } from './hex.ts';
import type { Exchange } from './hex.ts';

/** `CRC32C` or `None`: what the one offer of each digest key is, and so the answer to it. */
export type DigestOffer = 'None' | 'CRC32C';

const loginText = (header: DigestOffer, data: DigestOffer): string => text([
  'InitiatorName=iqn.2026-11.org.example:vector',
  'SessionType=Normal',
  'TargetName=iqn.2026-11.org.example:unit',
  header === 'None' ? 'HeaderDigest=None,CRC32C' : 'HeaderDigest=CRC32C,None',
  `DataDigest=${data}`,
  'InitialR2T=No',
  'ImmediateData=Yes',
  'MaxRecvDataSegmentLength=262144',
  'MaxBurstLength=16776192',
  'FirstBurstLength=262144',
  'MaxOutstandingR2T=1',
  'ErrorRecoveryLevel=0',
]);
const loginAnswer = (header: DigestOffer, data: DigestOffer): string => text([
  'TargetPortalGroupTag=1',
  `HeaderDigest=${header}`,
  `DataDigest=${data}`,
  'InitialR2T=No',
  'ImmediateData=Yes',
  'MaxBurstLength=1048576',
  'FirstBurstLength=262144',
  'MaxOutstandingR2T=1',
  'ErrorRecoveryLevel=0',
  'MaxRecvDataSegmentLength=262144',
]);
const sendTargets = text(['SendTargets=']);
const targets = text(['TargetName=iqn.2026-11.org.example:unit', 'TargetAddress=192.0.2.2:3260,1']);
const block = '5a'.repeat(512);
const sense = '0012' + '700006000000000a00000000290000000000';
const snack = '10800000' + '00000000' + '0000000000000000' + 'ffffffff' + 'ffffffff' + '00000000' + '00000009' + '00'.repeat(16);

/** Login Request with InitiatorName to ErrorRecoveryLevel in one round (RFC 7143 §11.12, §11.13). */
export function login(header: DigestOffer, data: DigestOffer): Exchange {
  const offer = loginText(header, data);
  const answer = loginAnswer(header, data);
  return {
    name: 'Login Request and Response, one round',
    request:
      '43870000' + '00' + length(offer) + '800000000001' + '0000' + '00000001' + '00010000' + '00000005' + '00000003' +
      '00'.repeat(16) + padded(offer),
    answer:
      '23870000' + '00' + length(answer) + '800000000001' + '0001' + '00000001' + '00000000' + '00000003' + '00000005' + '00000005' +
      '0000' + '0000' + '00'.repeat(8) + padded(answer),
  };
}

/** What follows the login, without digests. */
export const SESSION: readonly Exchange[] = [
  {
    name: 'NOP-Out with data and its echo',
    request:
      '40800000' + '00000004' + '0000000000000000' + '00000002' + 'ffffffff' + '00000005' + '00000004' + '00'.repeat(16) + '70696e67',
    answer:
      '20800000' + '00000004' + '0000000000000000' + '00000002' + 'ffffffff' + '00000004' + '00000005' + '00000104' + '00'.repeat(12) + '70696e67',
  },
  {
    name: 'TEST UNIT READY: CHECK CONDITION with the unit attention of a new nexus',
    request: '01810000' + '00000000' + '0000000000000000' + '00000003' + '00000000' + '00000005' + '00000005' + '00'.repeat(16),
    answer:
      '21800002' + '00' + length(sense) + '0000000000000000' + '00000003' + '00000000' + '00000005' + '00000006' + '00000105' +
      '00000000' + '00000000' + '00000000' + padded(sense),
  },
  {
    name: 'TEST UNIT READY: GOOD',
    request: '01810000' + '00000000' + '0000000000000000' + '00000004' + '00000000' + '00000006' + '00000006' + '00'.repeat(16),
    answer:
      '21800000' + '00000000' + '0000000000000000' + '00000004' + '00000000' + '00000006' + '00000007' + '00000106' + '00'.repeat(12),
  },
  {
    name: 'WRITE (10) with immediate data',
    request:
      '01a10000' + '00000200' + '0000000000000000' + '00000005' + '00000200' + '00000007' + '00000007' +
      '2a000000000700000100' + '000000000000' + block,
    answer:
      '21800000' + '00000000' + '0000000000000000' + '00000005' + '00000000' + '00000007' + '00000008' + '00000107' + '00'.repeat(12),
  },
  {
    name: 'READ (10): status in the Data-In',
    request:
      '01c10000' + '00000000' + '0000000000000000' + '00000006' + '00000200' + '00000008' + '00000008' +
      '28000000000700000100' + '000000000000',
    answer:
      '25810000' + '00000200' + '0000000000000000' + '00000006' + 'ffffffff' + '00000008' + '00000009' + '00000108' +
      '00000000' + '00000000' + '00000000' + block,
  },
  {
    name: 'WRITE (10) without immediate data: R2T',
    request:
      '01a10000' + '00000000' + '0000000000000000' + '00000007' + '00000200' + '00000009' + '00000009' +
      '2a000000000800000100' + '000000000000',
    answer:
      '31800000' + '00000000' + '0000000000000000' + '00000007' + '00000000' + '00000009' + '0000000a' + '00000108' +
      '00000000' + '00000000' + '00000200',
  },
  {
    name: 'Data-Out for it',
    request:
      '05800000' + '00000200' + '0000000000000000' + '00000007' + '00000000' + '00000000' + '00000009' + '00000000' +
      '00000000' + '00000000' + '00000000' + block,
    answer:
      '21800000' + '00000000' + '0000000000000000' + '00000007' + '00000000' + '00000009' + '0000000a' + '00000109' + '00'.repeat(12),
  },
  {
    name: 'Text Request: SendTargets of this session',
    request:
      '44800000' + '00' + length(sendTargets) + '0000000000000000' + '00000008' + 'ffffffff' + '0000000a' + '0000000a' + '00'.repeat(16) +
      padded(sendTargets),
    answer:
      '24800000' + '00' + length(targets) + '0000000000000000' + '00000008' + 'ffffffff' + '0000000a' + '0000000a' + '00000109' + '00'.repeat(12) +
      padded(targets),
  },
  {
    name: 'ABORT TASK of a task that is not there',
    request:
      '42810000' + '00000000' + '0000000000000000' + '00000009' + '00000077' + '0000000a' + '0000000b' + '0000000a' + '00'.repeat(12),
    answer:
      '22800100' + '00000000' + '0000000000000000' + '00000009' + '00000000' + '0000000b' + '0000000a' + '00000109' + '00'.repeat(12),
  },
  {
    name: 'SNACK: rejected at ErrorRecoveryLevel 0, with a copy of its header',
    request: snack,
    answer:
      '3f800300' + '00000030' + '0000000000000000' + 'ffffffff' + '00000000' + '0000000c' + '0000000a' + '00000109' + '00'.repeat(12) + snack,
  },
  {
    name: 'Logout',
    request: '46800000' + '00000000' + '0000000000000000' + '0000000a' + '00000000' + '0000000a' + '0000000d' + '00'.repeat(16),
    answer:
      '26800000' + '00000000' + '0000000000000000' + '0000000a' + '00000000' + '0000000d' + '0000000a' + '00000109' +
      '00000000' + '00020000' + '00000000',
  },
];
