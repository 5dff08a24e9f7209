// The rules of the house as functions over source text, so that each can be shown to find what it forbids.

/** A source file: path from the repository root, and its text. */
export interface Source {
  readonly path: string;
  readonly text: string;
}

/** Who may import whom. A layer is the longest folder below that a path begins with. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'core/base': [],
  'core/world': ['core/base'],
  'core/iscsi/wire': ['core/base'],
  'core/volume': ['core/base'],
  'core/nbd/wire': ['core/base'],
  'core/pool': ['core/base', 'core/volume'],
  'core/cache': ['core/base', 'core/volume'],
  'core/cluster': ['core/base'],
  'core/mirror': ['core/base', 'core/volume', 'core/cluster'],
  'core/scsi': ['core/base', 'core/volume'],
  vaai: ['core/base', 'core/scsi', 'core/volume'],
  odx: ['core/base', 'core/scsi', 'core/volume'],
  'core/iscsi': ['core/base', 'core/iscsi/wire', 'core/scsi'],
  'core/nbd': ['core/base', 'core/nbd/wire', 'core/volume'],
  'core/control': ['core/base', 'core/volume', 'core/pool', 'core/cache', 'core/mirror', 'core/cluster', 'core/scsi'],
  'core/api': ['core/base', 'core/control'],
  // It speaks to the API like the plugins do, with the same client.
  'core/cli': ['core/base', 'plugins/sdk'],
  // The browser knows the rest over HTTP only.
  'core/console': [],
  'plugins/sdk': ['core/base'],
  'plugins/kvm': ['core/base', 'plugins/sdk'],
};
/** May import everything: the daemon, `gemel` where it takes up the commands of plugins, and tests. */
const FREE = ['core/daemon', 'core/cli/main', 'test'];
/** Layers of the data path: no npm package but these, and of Node only what does no I/O. */
const DATA_PATH = /^(core\/(base|iscsi|scsi|nbd|volume|pool|cache|mirror)|vaai|odx)(\/|$)/;
const DATA_PATH_PACKAGES = ['lmdb', '@node-rs/crc32'];
const DATA_PATH_NODE = ['node:crypto', 'node:buffer', 'node:assert', 'node:util', 'node:events'];
/** Where time, network, disk and randomness come through World. */
const BELOW_CONTROL = /^(core\/(base|iscsi|scsi|nbd|volume|pool|cache|mirror|cluster)|vaai|odx)\//;
const BANNED_BELOW_CONTROL = [
  /\bDate\.now\b/,
  /\bnew Date\b/,
  /\bperformance\.now\b/,
  /\bprocess\.hrtime\b/,
  /\bset(Timeout|Interval|Immediate)\s*\(/,
  /\bMath\.random\b/,
  /\brandom(Bytes|UUID|Int)\b/,
];
const BANNED_EVERYWHERE = [/rejectUnauthorized\s*:\s*false/, /NODE_TLS_REJECT_UNAUTHORIZED/];
export const MAX_LINES = 500;

/** Specifiers of all imports and re-exports of a source. */
export function importsOf(text: string): string[] {
  const found: string[] = [];
  const pattern =
    /(?:^|\n)\s*(?:import|export)\b[^'"`;]*?from\s*['"]([^'"]+)['"]|(?:^|\n)\s*import\s*['"]([^'"]+)['"]|\bimport\s*\(\s*['"]([^'"]+)['"]/g;
  for (const match of text.matchAll(pattern)) found.push(match[1] ?? match[2] ?? match[3] ?? '');
  return found;
}

/** The file a relative specifier names, from the repository root. */
export function resolve(from: string, specifier: string): string {
  const parts = from.split('/').slice(0, -1);
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.') parts.push(part);
  }
  return parts.join('/');
}

export function layerOf(path: string): string | undefined {
  return Object.keys(MAY_IMPORT)
    .filter((layer) => path.startsWith(`${layer}/`))
    .sort((a, b) => b.length - a.length)[0];
}

const within = (path: string, folders: readonly string[]): boolean =>
  folders.some((folder) => path === folder || path.startsWith(`${folder}/`) || path.startsWith(`${folder}.`));

/** Imports that the table does not allow. */
export function importViolations({ path, text }: Source): string[] {
  if (within(path, FREE)) return [];
  const layer = layerOf(path);
  if (layer === undefined) return [`${path}: belongs to no layer`];
  const allowed = [layer, ...(MAY_IMPORT[layer] ?? [])];
  const bad: string[] = [];
  for (const specifier of importsOf(text)) {
    if (specifier.startsWith('.')) {
      const target = layerOf(resolve(path, specifier)) ?? resolve(path, specifier);
      if (!allowed.includes(target)) bad.push(`${path}: ${layer} must not import ${target}`);
    } else if (DATA_PATH.test(path)) {
      const list = specifier.startsWith('node:') ? DATA_PATH_NODE : DATA_PATH_PACKAGES;
      if (!list.includes(specifier)) bad.push(`${path}: the data path must not import ${specifier}`);
    }
  }
  return bad;
}

/** Comments and strings do not call anything. */
function codeOnly(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[^:'"`])\/\/.*$/gm, '$1');
}

export function bannedCalls({ path, text }: Source): string[] {
  const code = codeOnly(text);
  const patterns = [...(BELOW_CONTROL.test(path) ? BANNED_BELOW_CONTROL : []), ...BANNED_EVERYWHERE];
  return patterns.filter((pattern) => pattern.test(code)).map((pattern) => `${path}: ${pattern.source}`);
}

export function tooLong({ path, text }: Source): string[] {
  const lines = text.split('\n').length - 1;
  return lines > MAX_LINES ? [`${path}: ${String(lines)} lines`] : [];
}

/** Product files that no entry point reaches. */
export function deadFiles(sources: readonly Source[], entries: readonly string[]): string[] {
  const byPath = new Map(sources.map((source) => [source.path, source]));
  const reached = new Set<string>();
  const visit = (path: string): void => {
    const source = byPath.get(path);
    if (source === undefined || reached.has(path)) return;
    reached.add(path);
    for (const specifier of importsOf(source.text)) if (specifier.startsWith('.')) visit(resolve(path, specifier));
  };
  for (const entry of entries) visit(entry);
  return sources.map(({ path }) => path).filter((path) => !reached.has(path));
}
