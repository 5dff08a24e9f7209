// The authority that certifies the API of all nodes of a cluster: tokens name it, so that one made at any node is good at all.
import type { ConfigStore } from '../../cluster/config-store.ts';
import { ServiceError } from '../../base/errors.ts';
import type { ApiAuthority } from '../../api/tls/identity.ts';
import type { Catalog } from '../../control/catalog.ts';
import type { SecretBox } from '../../control/secret-box.ts';
import { OWNER_TOKEN } from '../../control/tokens.ts';

/** What its key is sealed for. */
const PURPOSE = 'api-authority';
const SELF = 'self';

/**
 * The authority of the cluster; undefined: there never was one. The first node that looks (`isMember`) makes its own CA (`own`) that
 * of all, and brings the tokens that name it: those of its own store, which are there before the first start in a cluster
 * made by an older release. Rejects with a ServiceError.
 */
export async function apiAuthority(
  { catalog, store, box }: { catalog: Catalog; store: ConfigStore; box: SecretBox },
  isMember: boolean,
  own: () => Promise<ApiAuthority>,
): Promise<ApiAuthority | undefined> {
  const { apiAuthority: records, tokens } = catalog;
  if (records.get(SELF) === undefined && isMember) {
    const { cert, key } = await own();
    const record = { cert, key: box.seal(Buffer.from(key), PURPOSE) };
    const mine = (await store.list(tokens.prefix)).filter(
      (each) =>
        each.key !== tokens.prefix + OWNER_TOKEN && tokens.get(each.key.slice(tokens.prefix.length)) === undefined,
    );
    const brought = mine.map(({ key: at, value }) => tokens.edit(at.slice(tokens.prefix.length), value as never));
    try {
      await catalog.apply(records.edit(SELF, record), ...brought);
    } catch (error) {
      // Another node was faster: its CA it is.
      if (!(error instanceof ServiceError) || error.code !== 'in-use') throw error;
      await records.load();
    }
  }
  const record = records.get(SELF);
  return record === undefined ? undefined : { cert: record.cert, key: box.open(record.key, PURPOSE).toString() };
}
