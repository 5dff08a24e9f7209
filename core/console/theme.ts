// Light and dark: what the frame around us says, else what somebody has chosen here, else what the system prefers.

export type Theme = 'light' | 'dark';

const KEY = 'gemel-theme';
const dark = matchMedia('(prefers-color-scheme: dark)');
let framed: Theme | undefined;

export function currentTheme(): Theme {
  const kept = localStorageOr()?.getItem(KEY);
  return framed ?? (kept === 'light' || kept === 'dark' ? kept : dark.matches ? 'dark' : 'light');
}

export function chooseTheme(theme: Theme): void {
  localStorageOr()?.setItem(KEY, theme);
  applyTheme();
}

/** The frame's, which counts more than anybody's choice: a light page in a dark console is wrong whoever chose it. */
export function frameTheme(theme: Theme): void {
  framed = theme;
  applyTheme();
}

export function applyTheme(): void {
  const theme = currentTheme();
  document.body.setAttribute('cds-theme', theme);
  document.documentElement.dataset['theme'] = theme;
}

dark.addEventListener('change', applyTheme);

/** Browsers refuse it to pages in foreign frames. */
function localStorageOr(): Storage | undefined {
  try {
    return localStorage;
  } catch {
    return undefined;
  }
}
