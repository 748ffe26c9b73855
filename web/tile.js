// One person on the stage: a 16:9 frame that holds their picture, or their initials.

import { attribute, Drawn, h, text } from "./dom.js";
import { icon, redraw } from "./icons.js";
import { t } from "./i18n.js";
import { audioIcon, avatar, drawAvatar } from "./avatar.js";

export class Tile {
  #avatar = avatar();
  #name = h("bdi", { class: "tile-name" });
  #audio = icon("mic");
  #camera = icon("camera");
  #hand = h("span", { class: "tile-hand" }, icon("hand"));
  #wait = h("span", { class: "tile-wait", say: "member.reconnecting" });
  #media = h("div", { class: "tile-media" }, this.#avatar);
  #face;
  /** @type {HTMLVideoElement|null} */
  #video = null;
  #drawn = new Drawn();

  /**
   * @param {string} userId
   * @param {{onPick?: () => void, onClose?: () => void, testid?: string}} [handlers] without them it only shows
   */
  constructor(userId, { onPick, onClose, testid = `tile-${userId}` } = {}) {
    const label = h("span", { class: "tile-label" }, this.#audio, this.#camera, this.#name);
    this.#face = h(onPick ? "button" : "div", { class: "tile-face", type: onPick && "button" }, this.#media, this.#wait, label, this.#hand);
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

  /** @param {import("./roster.js").Member} member @param {boolean} isSelf */
  update(member, isSelf) {
    if (!this.#drawn.isNew(member, isSelf)) return;
    const name = isSelf ? t("member.you", { name: member.name }) : member.name;
    drawAvatar(this.#avatar, member);
    text(this.#name, name);
    redraw(this.#audio, audioIcon(member.audio));
    redraw(this.#camera, member.video === "on" ? "camera" : "cameraOff");
    const data = this.element.dataset;
    data.state = member.state;
    data.audio = member.audio;
    data.video = member.video;
    data.hand = String(member.hand);
    attribute(this.#face, "aria-label", `${name}, ${t(`audio.${member.audio}`)}, ${t(`video.${member.video}`)}`);
  }

  /** Shows a live picture, or with null the initials again. @param {MediaStream|null} stream */
  show(stream) {
    if (!stream) {
      this.#video?.remove();
      this.#video = null;
      return;
    }
    if (!this.#video) {
      this.#video = /** @type {HTMLVideoElement} */ (h("video", { playsinline: true, autoplay: true }));
      this.#video.muted = true;
      this.#media.append(this.#video);
    }
    if (this.#video.srcObject !== stream) this.#video.srcObject = stream;
  }
}
