// What is remembered of maps that were looked at. Pure.

/** Most questions of which something is kept. */
const MOST = 32;

/** Values by question; what was used longest ago is forgotten. */
export class Memory<T> {
  readonly #kept = new Map<string, T>();

  get(question: string): T | undefined {
    const known = this.#kept.get(question);
    if (known !== undefined) this.set(question, known);
    return known;
  }

  set(question: string, value: T): void {
    this.#kept.delete(question);
    this.#kept.set(question, value);
    for (const old of this.#kept.keys()) {
      if (this.#kept.size <= MOST) break;
      this.#kept.delete(old);
    }
  }
}
