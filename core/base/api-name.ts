/**
 * The name our own clients ask for when they begin TLS (RFC 6066 §3): whatever certificate browsers are shown, they get the
 * one of the CA their token vouches for. Nobody can own it (RFC 6761 §6.4).
 */
export const API_NAME = 'api.gemel.invalid';

/** The same for tokens of a cluster: they vouch for the authority its nodes have in common (/cluster-ca.pem). */
export const CLUSTER_API_NAME = 'cluster.gemel.invalid';
