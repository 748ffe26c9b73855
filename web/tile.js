// One stream on the stage: a 16:9 frame that holds a member's picture or initials, or a screen that they share.

import { attribute, Drawn, h, text } from "./dom.js";
import { icon, redraw } from "./icons.js";
import { localize, t } from "./i18n.js";
import { audioIcon, avatar, drawAvatar } from "./avatar.js";

/**
 * @typedef {object} Place what a tile shows
 * @property {string} stream
 * @property {import("./roster.js").Member} member
 * @property {boolean} isSelf
 * @property {boolean} isScreen
 * @property {boolean} isSpeaking
 * @property {import("./call/stream-link.js").Phase|""} phase of the stream's connection; empty: there is none
 * @property {MediaStream|null} picture
 */

export class Tile {
  #avatar = avatar();
  #name = h("bdi", { class: "tile-name" });
  #audio = icon("mic");
  #camera = icon("camera");
  #hand = h("span", { class: "tile-hand" }, icon("hand"));
  #status = h("span", { class: "tile-wait" });
  #media = h("div", { class: "tile-media" }, this.#avatar);
  #face;
  /** The picture that is shown or about to be, and before it the former one. @type {MediaStream|null} */
  #picture = null;
  #drawn = new Drawn();

  /**
   * @param {string} stream
   * @param {{onPick?: () => void, onClose?: () => void, testid?: string, you?: string}} [handlers] without them it only
   *   shows; `you`: the catalogue key for oneself
   */
  constructor(stream, { onPick, onClose, testid = `tile-${stream}`, you = "member.you" } = {}) {
    this.you = you;
    const label = h("span", { class: "tile-label" }, this.#audio, this.#camera, this.#name);
    this.#face = h(onPick ? "button" : "div", { class: "tile-face", type: onPick && "button" }, this.#media, this.#status, label, this.#hand);
    this.element = h("div", { class: "tile", testid }, this.#face);
    if (onPick) this.#face.addEventListener("click", onPick);
    if (onClose) this.#addClose(onClose);
  }

  /** @param {() => void} onClose */
  #addClose(onClose) {
    const close = h("button", { class: "tile-close", type: "button", sayLabel: "member.close", sayTitle: "member.close", on: { click: onClose } });
    close.append(icon("close"));
    this.element.append(close);
    this.element.addEventListener("keydown", (/** @type {KeyboardEvent} */ { key }) => {
      if (key === "Delete" || key === "Backspace") onClose();
    });
  }

  /** @param {Place} place */
  update(place) {
    const { member, isSelf, isScreen, isSpeaking, phase, picture } = place;
    if (!this.#drawn.isNew(member, isSelf, isSpeaking, phase, picture)) return;
    this.#show(isScreen || member.video === "on" ? picture : null);
    this.#describe(place);
    drawAvatar(this.#avatar, member);
    redraw(this.#audio, isScreen ? "screen" : audioIcon(member.audio));
    redraw(this.#camera, member.video === "on" ? "camera" : "cameraOff");
    const data = this.element.dataset;
    data.stream = place.stream;
    data.state = member.state;
    data.audio = member.audio;
    data.video = member.video;
    data.phase = phase;
    data.kind = isScreen ? "screen" : isSelf ? "self" : "member";
    data.hand = String(member.hand && !isScreen);
    data.speaking = String(isSpeaking && !isScreen);
  }

  /** @param {Place} place */
  #describe({ member, isSelf, isScreen, isSpeaking, phase }) {
    const whose = isSelf ? this.you : isScreen ? "stage.screenOf" : null;
    const name = whose ? t(whose, { name: member.name }) : member.name;
    text(this.#name, name);
    const status = statusOf(member, { isScreen, isSelf }, phase);
    if (status) localize(this.#status, status);
    this.#status.hidden = !status;
    const states = isScreen ? [] : [t(`audio.${member.audio}`), t(`video.${member.video}`), member.hand && t("member.hand"), isSpeaking && t("member.speaking")];
    attribute(this.#face, "aria-label", [name, ...states, status && t(status)].filter(Boolean).join(", "));
  }

  /** The former picture stands until the new one has something to show: a reconnection doesn't flash. @param {MediaStream|null} picture */
  #show(picture) {
    if (picture === this.#picture) return;
    this.#picture = picture;
    const former = [...this.#media.querySelectorAll("video")];
    const clear = () => {
      for (const video of former) video.remove();
    };
    if (!picture) return clear();
    const video = /** @type {HTMLVideoElement} */ (h("video", { playsinline: true, autoplay: true, class: "arriving" }));
    video.muted = true;
    whenShown(video, () => {
      video.classList.remove("arriving");
      clear();
    });
    video.srcObject = new MediaStream(picture.getVideoTracks());
    this.#media.append(video);
  }
}

/** Calls back at the first frame. @param {HTMLVideoElement} video @param {() => void} then */
function whenShown(video, then) {
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(then);
  else video.addEventListener("loadeddata", then, { once: true });
}

/**
 * The words for a missing picture: a catalogue key, or nothing. One's own is there anyhow.
 * @param {import("./roster.js").Member} member @param {{isScreen: boolean, isSelf: boolean}} what @param {Place["phase"]} phase
 */
export function statusOf({ state, video }, { isScreen, isSelf }, phase) {
  if (state === "reconnecting" && !isScreen) return "member.reconnecting";
  if (phase === "failed" || phase === "reconnecting") return `media.${phase}`;
  if (isSelf || (!isScreen && video === "off")) return null;
  return phase === "connecting" || phase === "waiting" ? `media.${phase}` : null;
}
