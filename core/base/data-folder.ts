/** Where the daemon keeps its data, and the client looks for it, when nobody says otherwise. */
export function defaultDataFolder(
  user: { readonly isRoot: boolean; readonly home: string },
  env: Readonly<Record<string, string | undefined>>,
  platform: string,
): string {
  if (platform === 'win32') return `${env['ProgramData'] ?? 'C:\\ProgramData'}\\Gemel`;
  if (user.isRoot) return '/var/lib/gemel';
  const share = env['XDG_DATA_HOME'];
  return share?.startsWith('/') === true ? `${share}/gemel` : `${user.home}/.local/share/gemel`;
}

/** Files of the data folder that the client reads. */
export const TOKEN_FILE = 'token';
export const RUN_FILE = 'run.json';
