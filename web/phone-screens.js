// What is seen of a call that isn't on yet: somebody rings, or one rings somebody.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { say } from "./i18n.js";
import { avatar, drawAvatar } from "./avatar.js";
import { cardPage } from "./chrome.js";
import { Ringtone } from "./ringtone.js";

/** @typedef {import("./phone.js").PhoneCall} PhoneCall */

/** @param {import("./phone.js").Person} person */
function face(person) {
  const picture = avatar();
  drawAvatar(picture, person);
  return h("div", { class: "call-face" }, picture);
}

/** @param {string} key @param {string} testid @param {string} name @param {string} style @param {() => void} click */
function round(key, testid, name, style, click) {
  const button = h("button", { class: `call-round ${style}`, type: "button", testid, on: { click } }, h("span", { class: "call-disc" }, icon(name)), h("span", { say: key }));
  return button;
}

/** The window above the page while somebody rings, with a tone. */
export class IncomingWindow {
  #title = h("h2", { id: "incoming-name" });
  #words = h("p", { id: "incoming-words", class: "card-state" });
  #face = h("div", {});
  #tone = new Ringtone();
  /** @type {PhoneCall|null} */
  #call = null;

  /** @param {{onAccept: (call: PhoneCall, withVideo: boolean) => void, onDecline: (call: PhoneCall) => void}} owner */
  constructor({ onAccept, onDecline }) {
    const on = (/** @type {(call: PhoneCall) => void} */ act) => () => this.#call && act(this.#call);
    const decline = on(onDecline);
    const actions = h(
      "div",
      { class: "call-actions" },
      round("phone.decline", "call-decline", "phoneDown", "no", decline),
      round("phone.acceptAudio", "call-accept", "phone", "yes", on((call) => onAccept(call, false))),
      round("phone.acceptVideo", "call-accept-video", "camera", "yes", on((call) => onAccept(call, true))),
    );
    const attributes = { class: "dialog call-window", role: "alertdialog", testid: "incoming", "aria-labelledby": "incoming-name", "aria-describedby": "incoming-words" };
    this.element = h("dialog", attributes, this.#face, this.#title, this.#words, actions);
    // Escape would leave the caller ringing.
    this.element.addEventListener("cancel", (/** @type {Event} */ event) => {
      event.preventDefault();
      decline();
    });
  }

  /** @param {PhoneCall|undefined} call */
  update(call) {
    this.#call = call ?? null;
    if (!call) return this.#close();
    this.#title.textContent = call.person.name;
    say(this.#words, call.isGroup ? "phone.ringsGroup" : "phone.rings");
    this.#face.replaceChildren(face(call.person));
    if (this.element.open) return;
    document.body.append(this.element);
    this.element.showModal();
    this.#tone.start();
  }

  #close() {
    this.#tone.stop();
    this.element.close();
    this.element.remove();
  }
}

/** The screen of one who rings somebody, and then of what became of it. */
export class CallingScreen {
  /**
   * @param {import("./phone.js").Dialled} dialled
   * @param {{onCancel: () => void, onAgain: () => void, onBack: () => void}} owner
   */
  constructor({ call, outcome, reason }, { onCancel, onAgain, onBack }) {
    const state = h("p", { class: "card-state", role: "status", testid: "state-text" });
    const isReason = outcome === "declined" && reason;
    say(state, outcome ? `phone.${isReason ? "declinedWhy" : outcome}` : call.callId ? "phone.calling" : "phone.dialling", { name: call.person.name, why: reason });
    const actions = outcome
      ? [round("phone.back", "call-back", "close", "", onBack), round("phone.again", "call-again", call.withVideo ? "camera" : "phone", "yes", onAgain)]
      : [round("phone.cancel", "call-cancel", "phoneDown", "no", onCancel)];
    this.element = cardPage(
      face(call.person),
      h("h1", { class: "card-title", testid: "call-name" }, h("bdi", {}, call.person.name)),
      h("div", { class: "state-line" }, !outcome && h("span", { class: "pulse", "aria-hidden": "true" }), state),
      h("div", { class: "call-actions" }, ...actions),
    );
    this.element.classList.add("calling");
  }
}
