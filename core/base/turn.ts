/** Runs asynchronous work one after the other, in the order of the calls. */
export class Turn {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `work` when everything before it is over, failed or not. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }
}
