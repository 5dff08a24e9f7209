/** The certificate the API shows to browsers. */
export interface ServedCertificate {
  /** Signed by the CA of the data folder, or files that were given. */
  readonly source: 'own-ca' | 'given';
  readonly subject: string;
  readonly issuer: string;
  /** DNS names and addresses it is good for. */
  readonly names: readonly string[];
  /** Milliseconds since 1970. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Why the latest files are not in use. */
  readonly problem: string | undefined;
  /** True when it is good for this DNS name or address. */
  readonly covers: (host: string) => boolean;
  /** What tokens vouch for: base64url SHA-256 of the CA certificate of the cluster, or of the data folder. */
  readonly fingerprint: string;
  /** Where a person reaches the console. */
  readonly url: string;
}
