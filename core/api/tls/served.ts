// The certificate browsers are shown: one that was given, or the one of our own CA. Either is looked at while the daemon
// runs, and exchanged without a restart; one that cannot be used never replaces one that can.
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { API_NAME, CLUSTER_API_NAME } from '../../base/api-name.ts';
import { messageOf } from '../../base/errors.ts';
import { TLS_CHECK_INTERVAL } from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import { Turn } from '../../base/turn.ts';
import type { Timer, World } from '../../base/world.ts';
import type { ServedCertificate } from '../../control/certificate-view.ts';
import { RENEW_BEFORE, tlsIdentity } from './identity.ts';
import type { ApiAuthority, TlsIdentity } from './identity.ts';

/** In PEM; the certificate with those between it and its CA. */
export interface ShownCertificate {
  readonly cert: string;
  readonly key: string;
}

export interface ServedTlsOptions {
  readonly world: World;
  readonly log: Log;
  /** Of our own CA. */
  readonly folder: string;
  /** Id of this node. */
  readonly node: string;
  /** Names and addresses for a certificate of our own; asked anew each time one is looked at. */
  readonly hosts: () => readonly string[];
  /** Paths of a given certificate and its key, PEM. */
  readonly files: { readonly cert: string; readonly key: string } | undefined;
  /** The authority tokens of a cluster vouch for, and the folder of our certificate of it; undefined: there is none. */
  readonly cluster?: { readonly authority: ApiAuthority; readonly folder: string } | undefined;
}

export class ServedTls {
  readonly #options: ServedTlsOptions;
  readonly #turn = new Turn();
  #own: TlsIdentity;
  #cluster: TlsIdentity | undefined;
  #given: ShownCertificate | undefined;
  /** Content of the files when they were last tried, good or not. */
  #tried: string | undefined;
  #problem: string | undefined;
  #leaf: X509Certificate;
  #listener: () => void = () => undefined;
  #timer: Timer | undefined;
  #stopped = false;

  private constructor(options: ServedTlsOptions, own: TlsIdentity) {
    this.#options = options;
    this.#own = own;
    this.#leaf = new X509Certificate(own.cert);
  }

  /** Given files that cannot be used are a `problem`, and our own certificate is shown: the disks have to come up. */
  static async open(options: ServedTlsOptions): Promise<ServedTls> {
    const served = new ServedTls(options, await own(options));
    served.#cluster = await ofCluster(options);
    await served.#readFiles();
    return served;
  }

  /** Of our own CA, whatever browsers are shown. */
  get own(): TlsIdentity {
    return this.#own;
  }

  /** Of the authority of the cluster; undefined: there is none. */
  get cluster(): TlsIdentity | undefined {
    return this.#cluster;
  }

  get shown(): ShownCertificate {
    return this.#given ?? { cert: this.#own.cert + this.#own.ca, key: this.#own.key };
  }

  /** Looks at the files every now and then; calls `listener` after each exchange. */
  watch(listener: () => void): void {
    this.#listener = listener;
    const look = (): void => {
      this.#timer = this.#options.world.clock.after(TLS_CHECK_INTERVAL, () => {
        const ends = [this.#own, this.#cluster ?? this.#own].map(({ cert }) =>
          Date.parse(new X509Certificate(cert).validTo),
        );
        void this.#look(Math.min(...ends) - this.#options.world.clock.wall() < RENEW_BEFORE).finally(() => {
          if (!this.#stopped) look();
        });
      });
    };
    look();
  }

  /** Looks at once, whether or not anything seems to have changed. */
  reload(): Promise<void> {
    this.#tried = undefined;
    return this.#look(true);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** `url`: where a person reaches the console. */
  view(url: string): ServedCertificate {
    const leaf = this.#leaf;
    const oneLine = (name: string): string => name.split('\n').join(', ');
    return {
      source: this.#given === undefined ? 'own-ca' : 'given',
      subject: oneLine(leaf.subject),
      issuer: oneLine(leaf.issuer),
      names: (leaf.subjectAltName ?? '')
        .split(', ')
        .flatMap((each) => /^(?:DNS|IP Address):(.*)$/.exec(each)?.[1] ?? []),
      notBefore: Date.parse(leaf.validFrom),
      notAfter: Date.parse(leaf.validTo),
      problem: this.#problem,
      // OpenSSL takes an empty name for any.
      covers: (host) => host !== '' && leaf.checkHost(host) !== undefined,
      fingerprint: (this.#cluster ?? this.#own).fingerprint,
      url,
    };
  }

  #look(ownToo: boolean): Promise<void> {
    return this.#turn.run(async () => {
      try {
        if (ownToo) {
          this.#own = await own(this.#options);
          this.#cluster = await ofCluster(this.#options);
        }
        const changed = await this.#readFiles();
        if (ownToo || changed) this.#listener();
      } catch (error) {
        this.#options.log.error({ error: messageOf(error) }, 'the certificate of the API could not be looked at');
      }
    });
  }

  /** True when what is shown is another one now. */
  async #readFiles(): Promise<boolean> {
    const { files, log } = this.#options;
    if (files !== undefined) {
      const before = this.#given;
      try {
        const read = { cert: await this.#read(files.cert), key: await this.#read(files.key) };
        const content = read.cert + read.key;
        if (content === this.#tried) return false;
        this.#tried = content;
        checkPair(read, this.#options.world.clock.wall());
        this.#given = read;
        this.#problem = undefined;
        log.info(
          { cert: files.cert },
          before === undefined ? 'the given certificate is in use' : 'certificate reloaded',
        );
      } catch (error) {
        const problem = `the certificate ${files.cert} or its key cannot be used: ${messageOf(error)}`;
        if (problem !== this.#problem) log.error({ problem }, 'the API shows the certificate it had');
        this.#problem = problem;
        if (this.#given !== undefined) return false;
      }
    }
    this.#leaf = new X509Certificate(this.shown.cert);
    return true;
  }

  async #read(path: string): Promise<string> {
    const content = await this.#options.world.disk.readFile(path);
    if (content === undefined) throw new Error(`${path} is not there`);
    return content.toString();
  }
}

const own = ({ world, folder, node, hosts }: ServedTlsOptions): Promise<TlsIdentity> =>
  tlsIdentity(world, folder, node, [...hosts(), API_NAME]);

/** Only our own clients ask for it, by this name. */
const ofCluster = async ({ world, node, cluster }: ServedTlsOptions): Promise<TlsIdentity | undefined> =>
  cluster === undefined ? undefined : tlsIdentity(world, cluster.folder, node, [CLUSTER_API_NAME], cluster.authority);

/** Throws when certificate and key are not a pair, or no server can use them at `now`. */
function checkPair({ cert, key }: ShownCertificate, now: number): void {
  const leaf = new X509Certificate(cert);
  if (!leaf.checkPrivateKey(createPrivateKey(key))) throw new Error('the key belongs to another certificate');
  if (Date.parse(leaf.validTo) <= now) throw new Error(`it expired on ${leaf.validTo}`);
  // What this OpenSSL does not take, such as a key that is too short.
  createSecureContext({ cert, key });
}
