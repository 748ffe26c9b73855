// A person without a picture.

import { attribute, h, text } from "./dom.js";
import { hue, initials } from "./names.js";

/** @returns {HTMLElement} */
export function avatar() {
  return h("span", { class: "avatar", "aria-hidden": "true" });
}

/** @param {HTMLElement} element @param {{userId: string, name: string}} person */
export function drawAvatar(element, { userId, name }) {
  attribute(element, "class", `avatar hue-${hue(userId)}`);
  text(element, initials(name));
}

/** The icon for a microphone. @param {"on"|"off"|"forcedOff"} audio */
export function audioIcon(audio) {
  return { on: "mic", off: "micOff", forcedOff: "micHeld" }[audio] ?? "micOff";
}
