// How one's own devices, their owner's choice and the roster follow each other. A microphone or a camera opens only by
// an act of its owner on this device: it is open where both the owner's choice and the roster say so.

/**
 * @typedef {import("../roster.js").Member} Member
 * @typedef {"audio"|"video"} Kind
 * @typedef {object} ConsentOwner
 * @property {import("../live.js").LiveConference} live
 * @property {import("../choice.js").Choice} choice
 * @property {Pick<import("./own-media.js").OwnMedia, "setMicrophone"|"setCamera">} own
 * @property {(key: string) => void} onTrouble something to tell the reader: a catalogue key
 * @property {() => void} onChange what the roster says may be followed again
 */

/** The actions that tell the roster. */
const CONTROLS = { audio: { on: "unmuteSelf", off: "muteSelf" }, video: { on: "openCamera", off: "closeCamera" } };
/** How often the roster is told again that a device is off. */
const CORRECT_MS = 5_000;

/** Owner: `Media`. */
export class Consent {
  /** The roster's last state of one's own devices; only a change of it is followed. */
  #last = { audio: "", video: "" };
  /** Acts of one's own that the roster doesn't show yet: under way, and up to this event. */
  #acts = 0;
  #lastAct = { epoch: "", seq: 0 };
  /** When the roster was last told that a device is off which it has on, ms of `performance.now()`. */
  #corrected = { audio: -Infinity, video: -Infinity };

  /** @param {ConsentOwner} owner */
  constructor(owner) {
    this.owner = owner;
    this.live = owner.live;
    this.choice = owner.choice;
    this.own = owner.own;
  }

  /** A seat that knows nothing of us yet: what the owner has chosen is done again there. @param {Member} self */
  async enter(self) {
    this.#last = { audio: self.audio, video: self.video };
    await Promise.all([this.#bring("audio", self), this.#bring("video", self)]);
  }

  /** @param {Kind} kind @param {Member} self */
  async #bring(kind, self) {
    if (self[kind] === "on" || !this.choice[kind]) return this.#agree(kind, self[kind] === "on");
    const isFree = this.live.roster?.conference.mutePolicy === "free" || self.role === "chair";
    if (kind === "video" || (isFree && self.audio === "off")) return this.set(kind, true);
    return this.#agree(kind, false);
  }

  /** The chair mutes, another window of the same user did something, a reload finds the camera on. @param {Member} self */
  follow({ audio, video }) {
    const { epoch = "", seq = 0 } = this.live.roster ?? {};
    // One's own act is still on its way: what the roster says is older.
    if (this.#acts > 0 || (epoch === this.#lastAct.epoch && seq < this.#lastAct.seq)) return;
    const former = this.#last;
    this.#last = { audio, video };
    if (audio !== former.audio || this.#isWrong("audio", audio)) void this.#agree("audio", audio === "on");
    if (video !== former.video || this.#isWrong("video", video)) void this.#agree("video", video === "on");
  }

  /** Whether the roster still has on what its owner has turned off, and was not told so just now. @param {Kind} kind @param {string} said */
  #isWrong(kind, said) {
    return said === "on" && !this.choice[kind] && this.live.isOnline && performance.now() - this.#corrected[kind] > CORRECT_MS;
  }

  /** Off wins. @param {Kind} kind @param {boolean} isOn whether the roster says so */
  async #agree(kind, isOn) {
    if (!isOn) this.choice.change({ [kind]: false });
    const isOpen = isOn && this.choice[kind];
    const trouble = await this.#device(kind, isOpen);
    if (trouble) return this.lost(trouble);
    if (!isOn || isOpen) return;
    this.#corrected[kind] = performance.now();
    this.live.control(CONTROLS[kind].off).catch(() => {}); // told again with the next news
  }

  /** @param {Kind} kind @param {boolean} isOn @returns {Promise<string|null>} */
  #device(kind, isOn) {
    return kind === "audio" ? this.own.setMicrophone(isOn) : this.own.setCamera(isOn);
  }

  /** A device went away, or can't be had. @param {string} key of the catalogue */
  lost(key) {
    const kind = key.includes("camera") ? "video" : "audio";
    this.choice.change({ [kind]: false });
    this.owner.onTrouble(key);
    // The roster shows it until the next try; nothing else hangs on it.
    this.live.control(CONTROLS[kind].off).catch(() => {});
  }

  /** The reader pressed it; the roster is told beside. @param {Kind} kind @param {boolean} isOn @returns {Promise<void>} @throws {import("../rpc.js").RpcError} */
  async set(kind, isOn) {
    this.choice.change({ [kind]: isOn });
    this.#acts += 1;
    try {
      const trouble = await this.#device(kind, isOn);
      if (trouble) return this.#undone(kind, trouble);
      if (isOn && !this.choice[kind]) return undefined; // closed again while the browser asked
      await this.#tellRoster(kind, isOn);
    } finally {
      this.#acts -= 1;
    }
    this.owner.onChange();
  }

  /** @param {Kind} kind @param {string} trouble */
  #undone(kind, trouble) {
    this.choice.change({ [kind]: false });
    this.owner.onTrouble(trouble);
  }

  /** A device that the server refuses to open is closed again; a closed device stays closed. @param {Kind} kind @param {boolean} isOn */
  async #tellRoster(kind, isOn) {
    try {
      const { seq } = await this.live.control(CONTROLS[kind][isOn ? "on" : "off"]);
      this.#lastAct = { epoch: this.live.roster?.epoch ?? "", seq };
    } catch (error) {
      if (isOn) {
        this.choice.change({ [kind]: false });
        await this.#device(kind, false);
      }
      throw error;
    }
  }
}
