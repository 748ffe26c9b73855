// The reader's cameras and microphones: which there are, which one they chose last, and why one can't be had.

const STORED = "confgate.devices";

/** @typedef {"microphone"|"camera"} Device */
/** @typedef {"denied"|"missing"|"busy"|"insecure"} Trouble */

/** Names of `getUserMedia`'s exceptions (Media Capture and Streams, section 10.2) as reasons. @type {Record<string, Trouble>} */
const TROUBLES = {
  NotAllowedError: "denied",
  SecurityError: "denied",
  NotFoundError: "missing",
  OverconstrainedError: "missing",
  NotReadableError: "busy",
  AbortError: "busy",
};

/** The page's words when a device can't be had: a catalogue key. @param {Device} device @param {{name?: string}} error */
export function troubleKey(device, error) {
  return `device.${device}.${TROUBLES[error?.name ?? ""] ?? "missing"}`;
}

/**
 * The chosen devices and the volumes. The names of devices mean nothing outside this browser and origin.
 * @typedef {{microphone: string, camera: string, volume: number, level: number}} Choice volume and level: 0 to 100
 */

/** @type {Readonly<Choice>} */
export const UNCHOSEN = Object.freeze({ microphone: "", camera: "", volume: 100, level: 100 });

/** Reads a stored choice, whatever is stored. @param {string|null} text @returns {Choice} */
export function parseChoice(text) {
  let stored;
  try {
    stored = JSON.parse(text ?? "");
  } catch {
    return { ...UNCHOSEN };
  }
  const name = (/** @type {unknown} */ value) => (typeof value === "string" ? value : "");
  const percent = (/** @type {unknown} */ value) => (typeof value === "number" && value >= 0 && value <= 100 ? Math.round(value) : 100);
  const { microphone, camera, volume, level } = stored ?? {};
  return { microphone: name(microphone), camera: name(camera), volume: percent(volume), level: percent(level) };
}

/** Owner: `OwnMedia`. A browser that stores nothing keeps the choice as long as the page. */
export class Devices {
  /** @type {Choice} */
  choice;

  constructor() {
    this.choice = parseChoice(read());
  }

  /** @param {Partial<Choice>} change */
  choose(change) {
    this.choice = { ...this.choice, ...change };
    try {
      localStorage.setItem(STORED, JSON.stringify(this.choice));
    } catch {
      // storage is shut off
    }
  }

  /** All of a kind. They have no names until the reader allowed one. @param {Device} device @returns {Promise<{id: string, label: string}[]>} */
  async list(device) {
    const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    const kind = device === "camera" ? "videoinput" : "audioinput";
    return all.filter((each) => each.kind === kind).map(({ deviceId, label }) => ({ id: deviceId, label }));
  }

  /**
   * Opens the chosen device, or another where that one is gone. One that is busy is tried again: the page of before a
   * reload may not have let go of it yet.
   * @param {Device} device
   * @returns {Promise<MediaStreamTrack>}
   * @throws {DOMException|TypeError}
   */
  async open(device) {
    if (!navigator.mediaDevices) throw new DOMException("no secure context", "SecurityError");
    try {
      return await this.#open(device);
    } catch (error) {
      if (reason(error) !== "busy") throw error;
      await new Promise((resolve) => setTimeout(resolve, BUSY_MS));
      return this.#open(device);
    }
  }

  /** @param {Device} device */
  async #open(device) {
    const wished = this.choice[device];
    if (!wished) return capture(device, {});
    try {
      return await capture(device, { deviceId: { exact: wished } });
    } catch (error) {
      if (reason(error) !== "missing") throw error;
      return capture(device, {});
    }
  }
}

/** How long a device is given to become free. */
const BUSY_MS = 500;

/** @param {unknown} error @returns {Trouble|undefined} */
function reason(error) {
  return TROUBLES[/** @type {{name?: string}} */ (error)?.name ?? ""];
}

/** @param {Device} device @param {object} which constraints beside our own */
async function capture(device, which) {
  const wishes = device === "camera" ? { video: { ...PICTURE, ...which } } : { audio: { ...SOUND, ...which } };
  return (await navigator.mediaDevices.getUserMedia(wishes)).getTracks()[0];
}

const PICTURE = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
const SOUND = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

function read() {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}
