// Sound and picture of a conference that one is in: one's own devices, the call with the others, what is heard, and
// what is shown.

import { Call } from "./call.js";
import { Consent } from "./consent.js";
import { Loudspeakers } from "./loudspeakers.js";
import { OwnMedia } from "./own-media.js";
import { ViewSizes } from "./view-sizes.js";
import { ownerOf, streamOf } from "./streams.js";

/** @typedef {import("../roster.js").Member} Member */

/**
 * @typedef {object} MediaOwner
 * @property {import("../live.js").LiveConference} live
 * @property {import("../choice.js").Choice} choice
 * @property {(key: string) => void} onTrouble something to tell the reader: a catalogue key
 * @property {() => void} onBlocked the browser wants a press before it plays sound
 * @property {() => void} onChange
 */

export class Media {
  /** The last speaker; it stays while nobody speaks. @type {string|null} */
  lastSpeaker = null;
  #pending = 0;

  /** @param {MediaOwner} owner */
  constructor(owner) {
    this.owner = owner;
    const { live } = owner;
    this.userId = live.session.userId ?? "";
    this.own = new OwnMedia({
      onTrack: (source, kind, track) => this.call.replace(streamOf(this.userId, source), kind, track),
      onTrouble: (key) => this.consent.lost(key),
      onChange: () => this.#publish(),
    });
    this.consent = new Consent({ ...owner, own: this.own, onChange: () => owner.onChange() });
    this.call = new Call({
      userId: this.userId,
      confId: live.confId,
      rpc: live.rpc,
      tracks: (source) => this.own.tracks(source),
      onTrouble: (key) => this.owner.onTrouble(key),
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

  /**
   * The content of a tile: the picture, the phase of its stream, and whether its member speaks.
   * @param {string} stream
   * @returns {{picture: MediaStream|null, phase: import("./stream-link.js").Phase|"", isSpeaking: boolean}}
   */
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

  /** In a new seat. @param {Member} self */
  enter(self) {
    this.call.start(); // a gateway ends the call of a seat that is gone
    return this.consent.enter(self);
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

  /** Sends the captured tracks. Once there is a connection it stays: another track needs no new one. */
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
