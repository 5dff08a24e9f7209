// Where somebody is, in the fragment of the address: `#/volumes/NAME`. It works in a frame and below any path.

export interface Place {
  readonly page: string;
  /** What the page is about, when it is about one thing. */
  readonly name: string | undefined;
}

export function placeOf(hash: string): Place {
  const [page = '', name] = hash.replace(/^#\/?/, '').split('/');
  return { page: page === '' ? 'overview' : page, name: name === undefined || name === '' ? undefined : decoded(name) };
}

export const linkTo = (page: string, name?: string): string =>
  `#/${page}${name === undefined ? '' : `/${encodeURIComponent(name)}`}`;

export function go(page: string, name?: string): void {
  location.hash = linkTo(page, name);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
