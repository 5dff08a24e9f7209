// What lets a node into a cluster: where to ask, whose certificate to believe, and a secret that is good once.
import { X509Certificate, createHash } from 'node:crypto';
import { z } from 'zod';
import { ServiceError } from '../../base/errors.ts';

const PREFIX = 'gemel-join.';
const Content = z.strictObject({
  /** HOST and PORT of the admission (admission.ts). */
  host: z.string().min(1).max(255),
  port: z.int().min(1).max(65_535),
  /** Of the node that is asked: the name in its certificate. */
  node: z.string().regex(/^[\da-f]{8}$/),
  /** CA certificate of the cluster, DER in base64. */
  ca: z.base64(),
  secret: z.string().regex(/^[\w-]{43}$/),
  /** The cluster is in an etcd of somebody else: whoever joins needs none. */
  external: z.literal(true).optional(),
});
export type JoinContent = Omit<z.infer<typeof Content>, 'ca'> & {
  /** PEM. */
  readonly ca: string;
};

export function writeJoinToken(content: JoinContent): string {
  const ca = new X509Certificate(content.ca).raw.toString('base64');
  return PREFIX + Buffer.from(JSON.stringify({ ...content, ca })).toString('base64url');
}

/** Throws ServiceError bad-request. */
export function readJoinToken(token: string): JoinContent {
  try {
    if (!token.startsWith(PREFIX)) throw new Error('its beginning is missing');
    const content = Content.parse(JSON.parse(Buffer.from(token.slice(PREFIX.length), 'base64url').toString()));
    return { ...content, ca: new X509Certificate(Buffer.from(content.ca, 'base64')).toString() };
  } catch (error) {
    const what = 'this is not a token of `gemel cluster token`, or not all of it';
    throw new ServiceError('bad-request', what, { cause: error });
  }
}

/** What is kept of a secret. */
export const hashOfSecret = (secret: string): string => createHash('sha256').update(secret).digest('hex');
