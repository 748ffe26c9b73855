// A person's own choice for microphone, camera and hand in a conference, on this device. It goes with them
// over a cut, a reload, a new seat and another tab; nobody else's word opens a device.

const STORED = "confgate.choice";
const STORED_JOIN_SCREEN = "confgate.door";

/** @typedef {Pick<Storage, "getItem"|"setItem"|"removeItem">} Store */

/** Owner: `ConferenceSession`. Kept for this tab and, where no other conference has taken the place, for the device's other tabs. */
export class Choice {
  audio = false;
  video = false;
  hand = false;
  /** The seat (its `joinedAt`) whose member in the roster follows this choice. @type {number|null} */
  seat = null;

  /** @param {string} confId @param {string} userId @param {Store[]} [stores] the first that knows the conference wins */
  constructor(confId, userId, stores = browserStores()) {
    this.confId = confId;
    this.userId = userId;
    this.stores = stores;
  }

  /** The person goes in anew. @param {{audio: boolean, video: boolean}} opens what they want open */
  begin({ audio, video }) {
    this.change({ audio, video, hand: false, seat: null });
  }

  /** As it was last, here or in another tab. */
  recall() {
    const isOurs = (/** @type {any} */ kept) => kept?.confId === this.confId && kept.userId === this.userId;
    const kept = this.stores.map((store) => read(store, STORED)).find(isOurs);
    if (!kept) return;
    this.audio = kept.audio === true;
    this.video = kept.video === true;
    this.hand = kept.hand === true;
    this.seat = typeof kept.seat === "number" ? kept.seat : null;
  }

  /** @param {Partial<{audio: boolean, video: boolean, hand: boolean, seat: number|null}>} what */
  change(what) {
    const before = JSON.stringify(this.#kept());
    Object.assign(this, what);
    const now = JSON.stringify(this.#kept());
    if (now !== before) for (const store of this.stores) write(store, STORED, now);
  }

  /** The conference is left: the next time begins with everything off. */
  forget() {
    for (const store of this.stores) {
      if (read(store, STORED)?.confId === this.confId) write(store, STORED, null);
    }
  }

  #kept() {
    const { confId, userId, audio, video, hand, seat } = this;
    return { confId, userId, audio, video, hand, seat };
  }
}

/** The last choice at the join screen on this device; off where there is none. @returns {{audio: boolean, video: boolean}} */
export function joinScreenChoice(stores = browserStores().slice(0, 1)) {
  const kept = stores.map((store) => read(store, STORED_JOIN_SCREEN)).find(Boolean);
  return { audio: kept?.audio === true, video: kept?.video === true };
}

/** @param {{audio: boolean, video: boolean}} choice */
export function keepJoinScreenChoice({ audio, video }, stores = browserStores().slice(0, 1)) {
  for (const store of stores) write(store, STORED_JOIN_SCREEN, JSON.stringify({ audio, video }));
}

/** The device's and the tab's, as far as the browser has them. @returns {Store[]} */
function browserStores() {
  const store = (/** @type {() => Store|undefined} */ get) => {
    try {
      return get();
    } catch {
      return undefined; // shut off
    }
  };
  const both = [store(() => globalThis.localStorage), store(() => globalThis.sessionStorage)];
  return /** @type {Store[]} */ (both.filter(Boolean));
}

/** @param {Store} store @param {string} key @returns {any} null for what isn't ours */
function read(store, key) {
  try {
    return JSON.parse(store.getItem(key) ?? "null");
  } catch {
    return null;
  }
}

/** @param {Store} store @param {string} key @param {string|null} text */
function write(store, key, text) {
  try {
    if (text === null) store.removeItem(key);
    else store.setItem(key, text);
  } catch {
    // full or shut off: it lasts as long as the page
  }
}
