// How long to wait before trying again. Jittered, because everybody loses the same server at the same moment.

/**
 * A duration spread evenly over `ms * (1 - spread)` to `ms * (1 + spread)`.
 * @param {number} ms
 * @param {number} [spread] 0 to 1
 * @param {() => number} [random] like Math.random
 */
export function jittered(ms, spread = 0.4, random = Math.random) {
  return Math.round(ms * (1 - spread + 2 * spread * random()));
}

/** Doubling delays with a ceiling; each is drawn from the upper half of its range. */
export class Backoff {
  #tries = 0;

  /** @param {{baseMs: number, maxMs: number, random?: () => number}} options */
  constructor({ baseMs, maxMs, random = Math.random }) {
    this.baseMs = baseMs;
    this.maxMs = maxMs;
    this.random = random;
  }

  /** The next delay in ms. */
  next() {
    const ceiling = Math.min(this.maxMs, this.baseMs * 2 ** this.#tries);
    if (ceiling < this.maxMs) this.#tries += 1;
    return Math.round(ceiling * (0.5 + this.random() / 2));
  }

  /** The attempt has succeeded: the next failure starts from the beginning. */
  reset() {
    this.#tries = 0;
  }
}
