// One's own microphone, camera and screen. What is pressed here acts on the tracks at once; nothing waits for a server.

import { Devices, troubleKey } from "./devices.js";
import { MicrophoneLevel } from "./microphone.js";

/**
 * @typedef {object} OwnMediaOwner
 * @property {(source: import("./streams.js").Source, kind: "audio"|"video", track: MediaStreamTrack|null) => void} onTrack
 *   another track is to be sent, or with null none
 * @property {(key: string) => void} onTrouble a device went away by itself: a catalogue key
 * @property {() => void} onChange
 */

/** Owns the captured tracks: each is stopped here and nowhere else. */
export class OwnMedia {
  devices = new Devices();
  /** Whether one means to be heard and seen; a device may still be on its way. */
  isSpeaking = false;
  isFilming = false;
  /** @type {MediaStream|null} */
  picture = null;
  /** @type {MediaStream|null} */
  screen = null;
  /** @type {MediaStreamTrack|null} */
  #microphone = null;
  /** @type {MicrophoneLevel|null} */
  #level = null;
  #isMeasured = false;
  /** @type {MediaStreamTrack|null} what is sent: the microphone, or it at another level */
  #sound = null;

  /** @param {OwnMediaOwner} owner */
  constructor(owner) {
    this.owner = owner;
  }

  /** The tracks to send now. @param {import("./streams.js").Source} source */
  tracks(source) {
    if (source === "camera") return { audio: this.#sound, video: this.picture?.getVideoTracks()[0] ?? null };
    return { audio: this.screen?.getAudioTracks()[0] ?? null, video: this.screen?.getVideoTracks()[0] ?? null };
  }

  /**
   * Muting keeps the microphone open, so that speaking again is immediate.
   * @param {boolean} isOn
   * @returns {Promise<string|null>} a catalogue key that says why not
   */
  async setMicrophone(isOn) {
    this.isSpeaking = isOn;
    if (this.#microphone) this.#stopListening();
    this.owner.onChange();
    if (!isOn || this.#microphone) return null;
    return this.#openMicrophone();
  }

  /** @param {boolean} isOn @returns {Promise<string|null>} a catalogue key that says why not */
  async setCamera(isOn) {
    if (isOn === this.isFilming) return null;
    this.isFilming = isOn;
    this.owner.onChange();
    if (isOn) return this.#openCamera();
    this.#closeCamera();
    return null;
  }

  /** Takes another device from now on. @param {import("./devices.js").Device} device @param {string} id @returns {Promise<string|null>} */
  async choose(device, id) {
    this.devices.choose({ [device]: id });
    if (device === "camera") {
      if (!this.isFilming) return null;
      this.#closeCamera();
      return this.#openCamera();
    }
    if (!this.#microphone) return null;
    this.#closeMicrophone();
    return this.#openMicrophone();
  }

  /** The device that is open now. @param {import("./devices.js").Device} device @returns {string|null} */
  openDevice(device) {
    const track = device === "camera" ? this.picture?.getVideoTracks()[0] : this.#microphone;
    return track?.getSettings().deviceId ?? null;
  }

  /** How much of the microphone is sent. @param {number} percent 0 to 100 */
  async setLevel(percent) {
    this.devices.choose({ level: percent });
    await this.#applyLevel();
  }

  /** How loud the microphone is now, 0 to 1. */
  loudness() {
    return this.isSpeaking ? (this.#level?.loudness() ?? 0) : 0;
  }

  /** Measuring is for those who look at it. @param {boolean} isMeasured */
  async measure(isMeasured) {
    this.#isMeasured = isMeasured;
    await this.#applyLevel();
  }

  /** @returns {Promise<string|null>} a catalogue key that says why not; changing one's mind is no trouble */
  async shareScreen() {
    try {
      this.screen = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 15 } }, audio: true });
    } catch (error) {
      const { name } = /** @type {DOMException} */ (error);
      return name === "NotAllowedError" || name === "AbortError" ? null : "device.screen.failed";
    }
    const [track] = this.screen.getVideoTracks();
    track.contentHint = "detail";
    track.addEventListener("ended", () => this.stopScreen()); // by the browser's own button
    this.owner.onChange();
    return null;
  }

  stopScreen() {
    stop(this.screen);
    this.screen = null;
    this.owner.onChange();
  }

  stop() {
    this.isSpeaking = false;
    this.isFilming = false;
    this.#closeMicrophone();
    stop(this.picture);
    stop(this.screen);
    this.picture = null;
    this.screen = null;
  }

  async #openMicrophone() {
    try {
      const track = await this.devices.open("microphone");
      if (this.#microphone || !this.isSpeaking) {
        track.stop(); // muted while the browser was still asking
        return null;
      }
      this.#microphone = track;
      track.addEventListener("ended", () => track === this.#microphone && this.#lost("microphone"));
      await this.#applyLevel();
      this.#stopListening();
      this.owner.onChange();
      return null;
    } catch (error) {
      this.isSpeaking = false;
      this.owner.onChange();
      return troubleKey("microphone", /** @type {DOMException} */ (error));
    }
  }

  /** At full level the microphone is sent as it is; another level needs the browser's leave. */
  async #applyLevel() {
    const microphone = this.#microphone;
    if (!microphone) return;
    const { level } = this.devices.choice;
    const isNeeded = level < 100 || this.#isMeasured;
    if (isNeeded) this.#level ??= new MicrophoneLevel(microphone);
    this.#level?.set(level);
    const isLevelled = level < 100 && (await this.#level?.isRunning());
    if (microphone !== this.#microphone) return;
    this.#sound = isLevelled && this.#level ? this.#level.track : microphone;
    this.owner.onTrack("camera", "audio", this.#sound);
    if (isNeeded) return;
    this.#level?.close();
    this.#level = null;
  }

  #stopListening() {
    if (this.#microphone) this.#microphone.enabled = this.isSpeaking;
  }

  #closeMicrophone() {
    this.#level?.close();
    this.#level = null;
    this.#microphone?.stop();
    this.#microphone = null;
    this.#sound = null;
  }

  async #openCamera() {
    try {
      const track = await this.devices.open("camera");
      if (this.picture || !this.isFilming) {
        track.stop(); // closed while the browser was still asking
        return null;
      }
      this.picture = new MediaStream([track]);
      track.addEventListener("ended", () => track === this.picture?.getVideoTracks()[0] && this.#lost("camera"));
      this.owner.onTrack("camera", "video", track);
      this.owner.onChange();
      return null;
    } catch (error) {
      this.isFilming = false;
      this.owner.onChange();
      return troubleKey("camera", /** @type {DOMException} */ (error));
    }
  }

  #closeCamera() {
    stop(this.picture);
    this.picture = null;
    this.owner.onTrack("camera", "video", null);
    this.owner.onChange();
  }

  /** Unplugged, or taken back by the browser. @param {import("./devices.js").Device} device */
  #lost(device) {
    if (device === "camera") {
      this.isFilming = false;
      this.#closeCamera();
    } else {
      this.isSpeaking = false;
      this.#closeMicrophone();
      this.owner.onTrack("camera", "audio", null);
    }
    this.owner.onTrouble(`device.${device}.lost`);
    this.owner.onChange();
  }
}

/** A track that is stopped here fires no `ended`. @param {MediaStream|null} stream */
function stop(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
