// XML as libvirt writes and reads it: elements, attributes, text. What a document type could do (entities, defaults, other
// files) is not there at all, so there is nothing to be expanded; everything is bounded.
import { ServiceError } from '../../../core/base/errors.ts';

export interface Element {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly Node[];
}

/** An element, or text between elements. */
export type Node = Element | string;

/** Characters of a document, elements in it, and how deep they may be in each other. */
export const MAX_DOCUMENT = 4_194_304;
const MAX_ELEMENTS = 100_000;
const MAX_DEPTH = 64;
const MAX_ATTRIBUTES = 64;

const NAME = /[A-Za-z_][\w.-]*(?::[A-Za-z_][\w.-]*)?/y;
const SPACE = /[ \t\r\n]*/y;
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
/** Characters XML 1.0 cannot have at all, not even as references (§2.2). */
const FORBIDDEN =
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

/** An element; attributes and children that are undefined are left out. Names are ours, values may be anybody's. */
export function element(
  name: string,
  attributes: Readonly<Record<string, string | number | undefined>> = {},
  ...children: readonly (Node | undefined)[]
): Element {
  const given = Object.entries(attributes).flatMap(([key, value]) =>
    value === undefined ? [] : [[key, String(value)]],
  );
  return {
    name,
    attributes: Object.fromEntries(given) as Record<string, string>,
    children: children.filter((child) => child !== undefined),
  };
}

/** The document, without a declaration. Throws ServiceError bad-request for characters XML does not have. */
export function toXml(node: Node): string {
  if (typeof node === 'string') return escaped(node);
  const attributes = Object.entries(node.attributes).map(([name, value]) => ` ${name}="${escaped(value)}"`);
  const head = `<${node.name}${attributes.join('')}`;
  if (node.children.length === 0) return `${head}/>`;
  return `${head}>${node.children.map(toXml).join('')}</${node.name}>`;
}

function escaped(text: string): string {
  if (FORBIDDEN.test(text))
    throw new ServiceError('bad-request', 'a text has control characters, which XML cannot carry');
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&apos;')
    .replaceAll('\r', '&#13;')
    .replaceAll('\n', '&#10;')
    .replaceAll('\t', '&#9;');
}

/** Reads a document of one element. Throws ServiceError bad-request where it is not well-formed, or has a document type. */
export function parseXml(text: string): Element {
  if (text.length > MAX_DOCUMENT) throw new ServiceError('bad-request', 'the XML document is too long');
  if (FORBIDDEN.test(text)) throw new ServiceError('bad-request', 'XML: a character that may not be in a document');
  return new Parser(text).document();
}

class Parser {
  readonly #text: string;
  #at = 0;
  #elements = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): Element {
    if (this.#text.startsWith('\ufeff')) this.#at = 1;
    if (this.#text.startsWith('<?xml', this.#at)) this.#skipTo('?>');
    this.#misc();
    const root = this.#element(0);
    this.#misc();
    if (this.#at < this.#text.length) throw this.#bad('something behind the end');
    return root;
  }

  /** Space and comments. */
  #misc(): void {
    for (;;) {
      this.#take(SPACE);
      if (!this.#text.startsWith('<!--', this.#at)) return;
      this.#comment();
    }
  }

  #element(depth: number): Element {
    if (depth > MAX_DEPTH || ++this.#elements > MAX_ELEMENTS) throw this.#bad('too many elements');
    this.#expect('<');
    const name = this.#name();
    const attributes = this.#attributes();
    if (this.#text.startsWith('/>', this.#at)) {
      this.#at += 2;
      return { name, attributes, children: [] };
    }
    this.#expect('>');
    const children: Node[] = [];
    for (;;) {
      const next = this.#text.indexOf('<', this.#at);
      if (next < 0) throw this.#bad(`<${name}> does not end`);
      if (next > this.#at) children.push(this.#characters(next));
      if (this.#text.startsWith('</', this.#at)) break;
      if (this.#text.startsWith('<!--', this.#at)) this.#comment();
      else if (this.#text.startsWith('<![CDATA[', this.#at)) children.push(this.#cdata());
      else children.push(this.#element(depth + 1));
    }
    this.#at += 2;
    if (this.#name() !== name) throw this.#bad(`an end that is not that of <${name}>`);
    this.#take(SPACE);
    this.#expect('>');
    return { name, attributes, children };
  }

  #attributes(): Record<string, string> {
    const found = new Map<string, string>();
    for (;;) {
      const space = this.#take(SPACE);
      const next = this.#text[this.#at];
      if (next === '>' || next === '/') return Object.fromEntries(found);
      if (space === '') throw this.#bad('no space before an attribute');
      const name = this.#name();
      this.#take(SPACE);
      this.#expect('=');
      this.#take(SPACE);
      const quote = this.#text[this.#at];
      if (quote !== '"' && quote !== "'") throw this.#bad('an attribute without quotes');
      this.#at++;
      const end = this.#text.indexOf(quote, this.#at);
      if (end < 0) throw this.#bad('an attribute that does not end');
      const raw = this.#text.slice(this.#at, end);
      if (raw.includes('<')) throw this.#bad('< in an attribute');
      if (found.has(name) || found.size === MAX_ATTRIBUTES) throw this.#bad(`the attribute ${name} once more`);
      // XML 1.0 §3.3.3: white space in a value is read as spaces, unless it is written as a reference.
      found.set(name, this.#resolved(raw.replaceAll(/[\r\n\t]/g, ' ')));
      this.#at = end + 1;
    }
  }

  #characters(end: number): string {
    const raw = this.#text.slice(this.#at, end);
    if (raw.includes(']]>')) throw this.#bad(']]> in a text');
    this.#at = end;
    return this.#resolved(raw.replaceAll(/\r\n?/g, '\n'));
  }

  #cdata(): string {
    const from = this.#at + '<![CDATA['.length;
    this.#skipTo(']]>');
    return this.#text.slice(from, this.#at - 3);
  }

  #comment(): void {
    const from = this.#at + 4;
    this.#at = from;
    this.#skipTo('-->');
    if (this.#text.slice(from, this.#at - 3).includes('--')) throw this.#bad('-- in a comment');
  }

  #resolved(raw: string): string {
    if (!raw.includes('&')) return raw;
    const text = raw.replaceAll(/&(?:(#x?[\da-fA-F]{1,8})|(\w{1,8}));|&/g, (_, number?: string, name?: string) => {
      const known = name === undefined ? undefined : ENTITIES[name];
      if (known !== undefined) return known;
      if (number === undefined) throw this.#bad('an entity that is not one of the five');
      const code = number.startsWith('#x') ? parseInt(number.slice(2), 16) : Number(number.slice(1));
      if (!(code > 0 && code <= 0x10ffff)) throw this.#bad('a reference to no character');
      return String.fromCodePoint(code);
    });
    if (FORBIDDEN.test(text)) throw this.#bad('a reference to a character that may not be');
    return text;
  }

  #name(): string {
    const name = this.#take(NAME);
    if (name === '') throw this.#bad('a name is missing, or something that is no element');
    return name;
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const [found = ''] = pattern.exec(this.#text) ?? [];
    this.#at += found.length;
    return found;
  }

  #expect(text: string): void {
    if (!this.#text.startsWith(text, this.#at)) throw this.#bad(`no ${text}`);
    this.#at += text.length;
  }

  #skipTo(text: string): void {
    const end = this.#text.indexOf(text, this.#at);
    if (end < 0) throw this.#bad(`no ${text}`);
    this.#at = end + text.length;
  }

  #bad(why: string): ServiceError {
    return new ServiceError('bad-request', `XML, character ${String(this.#at)}: ${why}`);
  }
}

// ---- looking into what was read

/** The children that are elements, of this name if one is given. */
export function elementsOf(parent: Element | undefined, name?: string): Element[] {
  return (parent?.children ?? []).filter(
    (child): child is Element => typeof child !== 'string' && (name === undefined || child.name === name),
  );
}

/** The first element at the end of this path below `parent`: `child(pool, 'source', 'host')`. */
export function child(parent: Element | undefined, ...path: readonly string[]): Element | undefined {
  let at = parent;
  for (const name of path) at = elementsOf(at, name)[0];
  return at;
}

/** The text in an element. */
export function textOf(parent: Element | undefined): string | undefined {
  return parent?.children.filter((each) => typeof each === 'string').join('');
}

/** The element with its children changed: `change` returns what takes the place of each, undefined takes it away. */
export function mapChildren(parent: Element, change: (each: Node) => Node | undefined): Element {
  return { ...parent, children: parent.children.map(change).filter((each) => each !== undefined) };
}
