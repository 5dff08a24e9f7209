// What the pages show: each source is loaded while somebody looks at it, again when the daemon says that it has changed
// (stream.ts), and in any case after a while.
import { problemOf } from './client.ts';
import type { ApiProblem } from './client.ts';
import { credentials } from './credentials.ts';

type Listener = () => void;

export class Source<out T> {
  readonly #load: () => Promise<T>;
  readonly #every: number;
  readonly #listeners = new Set<Listener>();
  #value: T | undefined;
  #problem: ApiProblem | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  /** `every`: milliseconds between loads while nothing tells of a change. */
  constructor(load: () => Promise<T>, every: number) {
    this.#load = load;
    this.#every = every;
  }

  get value(): T | undefined {
    return this.#value;
  }

  get problem(): ApiProblem | undefined {
    return this.#problem;
  }

  subscribe(listener: Listener): void {
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) void this.refresh();
  }

  unsubscribe(listener: Listener): void {
    this.#listeners.delete(listener);
    if (this.#listeners.size === 0) clearTimeout(this.#timer);
  }

  /** Loads now, if somebody is logged in, or once more when a load is under way: what it brings may be older than the change. Never rejects. */
  refresh(): Promise<void> {
    if (credentials.kind === 'none') return Promise.resolve();
    if (this.#running === undefined) return this.#begin();
    // All who ask meanwhile share the next one.
    this.#next ??= this.#running.then(() => this.#begin());
    return this.#next;
  }

  /** If somebody looks at it. */
  changed(): void {
    if (this.#listeners.size > 0) void this.refresh();
  }

  /** Another person, another view. */
  clear(): void {
    this.#value = undefined;
    this.#problem = undefined;
  }

  #begin(): Promise<void> {
    this.#next = undefined;
    this.#running = this.#run();
    return this.#running;
  }

  async #run(): Promise<void> {
    clearTimeout(this.#timer);
    try {
      this.#value = await this.#load();
      this.#problem = undefined;
    } catch (error) {
      this.#problem = problemOf(error);
    }
    for (const listener of [...this.#listeners]) listener();
    this.#running = undefined;
    this.#plan();
  }

  #plan(): void {
    if (this.#listeners.size === 0) return;
    this.#timer = setTimeout(() => {
      // Nobody sees it: wait until somebody does.
      if (document.hidden) this.#plan();
      else void this.refresh();
    }, this.#every);
  }
}
