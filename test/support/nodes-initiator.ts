// Initiators that are logged in at one of two nodes.
import assert from 'node:assert/strict';
import { Initiator } from './initiator.ts';
import { TUR } from './cdb.ts';
import { IQN } from './target.ts';
import type { NodeName, TwoNodes } from './two-nodes.ts';

const HOST = '127.0.0.1';
let sessions = 0;

/** Logs in at a node; unit attentions are taken. `isid`: of an earlier session, to be the same initiator port again. */
export async function login(
  nodes: TwoNodes,
  node: NodeName,
  name = 'host',
  isid = `8000000${(++sessions).toString(16).padStart(5, '0')}`,
): Promise<Initiator> {
  const initiator = await Initiator.login(HOST, nodes[node].port, {
    target: IQN,
    initiator: `iqn.2026-11.org.example:${name}`,
    isid,
  });
  assert.equal((await initiator.scsi(TUR)).senseCode, '06/29/00');
  assert.equal((await initiator.scsi(TUR)).status, 0);
  return initiator;
}

export const cdb = (...bytes: number[]): Buffer => Buffer.from(bytes);
/** PERSISTENT RESERVE OUT with a basic parameter list. */
export function reserveOut(
  action: number,
  type: number,
  key: number,
  actionKey = 0,
  aptpl = false,
): { cdb: Buffer; write: Buffer } {
  const list = Buffer.alloc(24);
  list.writeUInt32BE(key, 4);
  list.writeUInt32BE(actionKey, 12);
  if (aptpl) list[20] = 1;
  return { cdb: cdb(0x5f, action, type, 0, 0, 0, 0, 0, 24, 0), write: list };
}

/** What PERSISTENT RESERVE OUT ended with. */
export async function reserve(initiator: Initiator, ...args: Parameters<typeof reserveOut>): Promise<string> {
  const { cdb: command, write } = reserveOut(...args);
  const { status, senseCode } = await initiator.scsi(command, { write });
  return status === 0 ? 'GOOD' : senseCode || status.toString(16);
}

/** Until it is so; it has to become so. */
export async function until(so: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 10_000;
  while (!(await so())) {
    assert.ok(Date.now() < end, 'it does not become so');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
