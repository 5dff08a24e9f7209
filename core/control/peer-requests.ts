// What the control plane of one node asks of another one: an action by name, with JSON both ways, over the link of the mirror.
import { ERRORS, ServiceError, messageOf } from '../base/errors.ts';
import type { ErrorCode } from '../base/errors.ts';
import { HAND_OVER_ASKED } from '../base/limits.ts';
import type { Json } from '../cluster/config-store.ts';
import type { ClusterMember } from '../cluster/member.ts';
import { PeerRefusal } from '../mirror/link/peer-link.ts';
import type { PeerLink } from '../mirror/link/peer-link.ts';
import { MirrorMessage, json } from '../mirror/messages.ts';

type Fields = Readonly<Record<string, unknown>>;
/** Carries an action out for another node, or this one. What it throws is told, a ServiceError with its code. */
export type PeerAction = (body: Fields) => Promise<Json | undefined>;

export class PeerRequests {
  readonly #member: ClusterMember;
  readonly #linkTo: (node: string) => PeerLink | undefined;
  readonly #actions = new Map<string, PeerAction>();

  constructor(member: ClusterMember, linkTo: (node: string) => PeerLink | undefined) {
    this.#member = member;
    this.#linkTo = linkTo;
  }

  handle(action: string, act: PeerAction): void {
    this.#actions.set(action, act);
  }

  /** Answers what the node of this link asks. */
  serve(link: PeerLink): void {
    link.handle(MirrorMessage.ask, async (header, data) => {
      try {
        const found = await this.#act(JSON.parse(header.toString()) as Fields, data);
        return { header: json({}), pieces: [json(found ?? null)] };
      } catch (error) {
        throw new PeerRefusal(error instanceof ServiceError ? error.code : 'internal', messageOf(error));
      }
    });
  }

  #act({ action }: Fields, data: Buffer): Promise<Json | undefined> {
    const act = typeof action === 'string' ? this.#actions.get(action) : undefined;
    if (act === undefined) throw new ServiceError('bad-request', 'this node does not know what it was asked for');
    return act(JSON.parse(data.toString()) as Fields);
  }

  /**
   * Resolves with what the node (an id; this one, too) answers. Rejects with the ServiceError it has refused with, or with
   * peer-unreachable, after at most `patience` milliseconds.
   */
  async ask(node: string, action: string, body: Json, patience = HAND_OVER_ASKED): Promise<Json> {
    const { self } = this.#member;
    if (node === self.id) return (await this.#act({ action }, json(body))) ?? null;
    const name = this.#member.nodes().find(({ id }) => id === node)?.name ?? node;
    const link = this.#linkTo(node);
    if (link?.up !== true) throw new ServiceError('peer-unreachable', `${name} does not answer`);
    try {
      const { data } = await link.request(MirrorMessage.ask, json({ action }), [json(body)], patience);
      return JSON.parse(data.toString()) as Json;
    } catch (error) {
      const isKnown = error instanceof PeerRefusal && error.code in ERRORS;
      const code: ErrorCode = isKnown ? (error.code as ErrorCode) : 'peer-unreachable';
      throw new ServiceError(code, isKnown ? messageOf(error) : `${name}: ${messageOf(error)}`, { cause: error });
    }
  }
}
