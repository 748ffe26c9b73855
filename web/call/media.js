// Sound and picture of a conference that one is in: one's own devices, the call with the others, what is heard, and
// how the roster and the devices follow each other.

import { Call } from "./call.js";
import { Loudspeakers } from "./loudspeakers.js";
import { OwnMedia } from "./own-media.js";
import { ViewSizes } from "./view-sizes.js";
import { ownerOf, streamOf } from "./streams.js";

/** @typedef {import("../roster.js").Member} Member */

/**
 * @typedef {object} MediaOwner
 * @property {import("../live.js").LiveConference} live
 * @property {(key: string) => void} onTrouble something to tell the reader: a catalogue key
 * @property {() => void} onBlocked the browser wants a press before it plays sound
 * @property {() => void} onChange
 */

export class Media {
  /** What the roster said last of one's own devices; only a change of it is followed. */
  #last = { audio: "", video: "" };
  /** Who spoke last; it stays while nobody speaks. @type {string|null} */
  lastSpeaker = null;
  #pending = 0;

  /** @param {MediaOwner} owner */
  constructor(owner) {
    this.owner = owner;
    const { live } = owner;
    this.userId = live.session.userId ?? "";
    this.own = new OwnMedia({
      onTrack: (source, kind, track) => this.call.replace(streamOf(this.userId, source), kind, track),
      onTrouble: (key) => this.#deviceLost(key),
      onChange: () => this.#publish(),
    });
    this.call = new Call({
      userId: this.userId,
      confId: live.confId,
      rpc: live.rpc,
      tracks: (source) => this.own.tracks(source),
      onChange: () => this.#changed(),
    });
    this.loudspeakers = new Loudspeakers({ onBlocked: () => owner.onBlocked() });
    this.loudspeakers.setVolume(this.own.devices.choice.volume);
    this.views = new ViewSizes((stream, width, height) => this.call.view(stream, width, height));
  }

  start() {
    this.call.start();
  }

  stop() {
    clearTimeout(this.#pending);
    this.views.stop();
    this.own.stop();
    this.call.stop();
    this.loudspeakers.update(new Map());
  }

  /** Streams that show a screen, of others. @returns {string[]} */
  get screens() {
    return [...this.call.phases.keys()].filter((stream) => stream !== ownerOf(stream) && ownerOf(stream) !== this.userId);
  }

  /** What a place of the stage shows: the picture, the phase of its stream, and whether that one speaks. @param {string} stream */
  of(stream) {
    const isOwn = stream === this.userId;
    return {
      picture: isOwn ? this.own.picture : (this.call.received.get(stream) ?? null),
      phase: this.call.phases.get(stream) ?? "",
      isSpeaking: stream === this.call.speaker,
    };
  }

  /** One's member as the devices are: sound and picture are off here the moment that is pressed. @param {Member} self @returns {Member} */
  asHere(self) {
    const audio = self.audio === "forcedOff" ? self.audio : this.own.isSpeaking ? "on" : "off";
    return { ...self, audio, video: this.own.isFilming ? "on" : "off" };
  }

  /** The chair mutes, another window of the same user did something, a reload finds the camera on. @param {Member} self */
  follow({ audio, video }) {
    const former = this.#last;
    this.#last = { audio, video };
    if (audio !== former.audio) void this.#followMicrophone(audio === "on");
    if (video !== former.video) void this.#followCamera(video === "on");
  }

  /** @param {boolean} isOn */
  async #followMicrophone(isOn) {
    const trouble = await this.own.setMicrophone(isOn);
    if (trouble) this.#deviceLost(trouble, "muteSelf");
  }

  /** @param {boolean} isOn */
  async #followCamera(isOn) {
    const trouble = await this.own.setCamera(isOn);
    if (trouble) this.#deviceLost(trouble, "closeCamera");
  }

  /** @param {string} key @param {string} [control] what the roster is told; without, by the device's name */
  #deviceLost(key, control = key.includes("camera") ? "closeCamera" : "muteSelf") {
    this.owner.onTrouble(key);
    // The roster shows it until the next try; nothing else hangs on it.
    this.owner.live.control(control).catch(() => {});
  }

  /** The reader pressed the microphone; the roster is told beside. @returns {Promise<void>} @throws {import("../rpc.js").RpcError} */
  async toggleMicrophone() {
    const isOn = !this.own.isSpeaking;
    const trouble = await this.own.setMicrophone(isOn);
    if (trouble) return this.owner.onTrouble(trouble);
    await this.#tell(isOn ? "unmuteSelf" : "muteSelf", () => isOn && this.own.setMicrophone(false));
  }

  /** @returns {Promise<void>} @throws {import("../rpc.js").RpcError} */
  async toggleCamera() {
    const isOn = !this.own.isFilming;
    const trouble = await this.own.setCamera(isOn);
    if (trouble) return this.owner.onTrouble(trouble);
    if (isOn && !this.own.isFilming) return undefined; // closed again while the browser asked
    await this.#tell(isOn ? "openCamera" : "closeCamera", () => isOn && this.own.setCamera(false));
  }

  /** What the server refuses to open is closed again; what was closed stays so. @param {string} action @param {() => unknown} undo */
  async #tell(action, undo) {
    try {
      await this.owner.live.control(action);
    } catch (error) {
      await undo();
      throw error;
    }
  }

  async toggleScreen() {
    if (this.own.screen) return this.own.stopScreen();
    const trouble = await this.own.shareScreen();
    if (trouble) this.owner.onTrouble(trouble);
  }

  /** @param {number} percent 0 to 100 */
  setVolume(percent) {
    this.own.devices.choose({ volume: percent });
    this.loudspeakers.setVolume(percent);
  }

  /** What is captured is sent. Once there is a connection it stays: another track needs no new one. */
  #publish() {
    const { audio, video } = this.own.tracks("camera");
    if (audio || video) this.call.publish("camera", true);
    this.call.publish("screen", Boolean(this.own.screen));
    this.#changed();
  }

  /** A connection says many things in a moment; they are drawn together. */
  #changed() {
    this.#pending ||= setTimeout(() => {
      this.#pending = 0;
      const { speaker, received } = this.call;
      this.loudspeakers.update(received);
      if (speaker && speaker !== this.userId) this.lastSpeaker = speaker;
      this.owner.onChange();
    }, FRAME_MS);
  }
}

/** Not an animation frame: a hidden page has none, and its sound goes on. */
const FRAME_MS = 16;
