// A lock among this browser's pages: only one of them listens for the user at a time, since a second event socket
// would take the first one's place. A page that enters a conference takes the lock; the others wait until it is free.

/**
 * @typedef {object} LockOwner
 * @property {() => void} onHeld
 * @property {() => void} onLost another page has taken it
 */

export class SingleTabLock {
  isHeld = false;
  /** @type {(() => void)|null} */
  #release = null;
  #isWanted = false;

  /** @param {string} userId @param {LockOwner} owner @param {LockManager|undefined} [locks] tests pass their own */
  constructor(userId, owner, locks = globalThis.navigator?.locks) {
    this.name = `confgate.line:${userId}`;
    this.owner = owner;
    this.locks = locks;
  }

  /** Has it as soon as no other page does. */
  wait() {
    if (this.#isWanted) return;
    this.#isWanted = true;
    this.#request(false);
  }

  /** Has it now, whoever had it. */
  take() {
    this.#isWanted = true;
    if (!this.isHeld) this.#request(true);
  }

  release() {
    this.#isWanted = false;
    this.isHeld = false;
    this.#release?.();
    this.#release = null;
  }

  /** @param {boolean} steal */
  #request(steal) {
    if (!this.locks) return this.#held(() => {}); // an insecure context: nothing better can be known
    this.locks
      .request(this.name, { steal }, () => new Promise((/** @type {(value?: unknown) => void} */ resolve) => this.#held(resolve)))
      .catch(() => this.#lost());
  }

  /** @param {() => void} release */
  #held(release) {
    if (!this.#isWanted || this.isHeld) return release();
    this.isHeld = true;
    this.#release = release;
    this.owner.onHeld();
  }

  #lost() {
    this.isHeld = false;
    this.#release = null;
    if (!this.#isWanted) return;
    this.owner.onLost();
    this.#request(false);
  }
}
