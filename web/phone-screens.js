// The screens of a call that isn't on yet: incoming or outgoing.

import { h, text } from "./dom.js";
import { icon, redraw } from "./icons.js";
import { listed, localize } from "./i18n.js";
import { avatar, drawAvatar } from "./avatar.js";
import { cardPage } from "./chrome.js";
import { CalleeList } from "./callee-list.js";
import { Ringtone } from "./ringtone.js";

/** @typedef {import("./phone.js").PhoneCall} PhoneCall */

/** The title of a call. @param {PhoneCall} call */
export function titleOf({ name, person, called }) {
  return name || person?.name || listed(called.map((each) => each.name));
}

/** @param {PhoneCall} call */
function face({ person }) {
  if (!person) return h("div", { class: "call-face" }, h("span", { class: "avatar department-picture", "aria-hidden": "true" }, icon("people")));
  const picture = avatar();
  drawAvatar(picture, person);
  return h("div", { class: "call-face" }, picture);
}

/** @param {string} key @param {string} testid @param {string} name @param {string} style @param {() => void} click */
function round(key, testid, name, style, click) {
  const button = h("button", { class: `call-round ${style}`, type: "button", testid, on: { click } }, h("span", { class: "call-disc" }, icon(name)), h("span", { localize: key }));
  return button;
}

/** Of those whom a group call rings too, so many are named. */
const NAMED = 3;

/** The window above the page while somebody rings, with a tone. */
export class IncomingWindow {
  #title = h("h2", { id: "incoming-name" });
  #words = h("span", {});
  #about = h("strong", { class: "call-about" });
  #others = h("span", { class: "row-notes" });
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
    const words = h("p", { id: "incoming-words", class: "call-words" }, this.#words, this.#about, this.#others);
    const attributes = { class: "dialog call-window", role: "alertdialog", testid: "incoming", "aria-labelledby": "incoming-name", "aria-describedby": "incoming-words" };
    this.element = h("dialog", attributes, this.#face, this.#title, words, actions);
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
    this.#title.textContent = call.person?.name ?? "";
    localize(this.#words, call.isGroup ? "phone.ringsGroup" : "phone.rings");
    this.#about.textContent = call.name;
    this.#drawOthers(call);
    this.#face.replaceChildren(face(call));
    if (this.element.open) return;
    document.body.append(this.element);
    this.element.showModal();
    this.#tone.start();
  }

  /** @param {PhoneCall} call */
  #drawOthers({ isGroup, others }) {
    this.#others.hidden = !isGroup || others.length === 0;
    const more = others.length - NAMED;
    const names = listed(others.slice(0, NAMED).map(({ name }) => name));
    localize(this.#others, more > 0 ? "phone.withMore" : "phone.with", { names, more });
  }

  #close() {
    this.#tone.stop();
    this.element.close();
    this.element.remove();
  }
}

/** The screen of one who rings somebody, and then of what became of it. */
export class CallingScreen {
  #face = h("div", {});
  #title = h("bdi", {});
  #pulse = h("span", { class: "pulse", "aria-hidden": "true" });
  #state = h("p", { class: "card-state", role: "status", testid: "state-text" });
  #called = new CalleeList();
  #actions = h("div", { class: "call-actions" });
  /** @type {import("./phone.js").Dialled|null} */
  #dialled = null;

  /** @param {{onCancel: () => void, onAgain: (dialled: import("./phone.js").Dialled) => void, onBack: () => void}} owner */
  constructor({ onCancel, onAgain, onBack }) {
    this.waiting = [round("phone.cancel", "call-cancel", "phoneDown", "no", onCancel)];
    const again = () => this.#dialled && onAgain(this.#dialled);
    this.over = [round("phone.back", "call-back", "close", "", onBack), round("phone.again", "call-again", "phone", "yes", again)];
    this.element = cardPage(
      this.#face,
      h("h1", { class: "card-title", testid: "call-name" }, this.#title),
      h("div", { class: "state-line" }, this.#pulse, this.#state),
      this.#called.element,
      this.#actions,
    );
    this.element.classList.add("calling");
  }

  /** Touches only what changed: a press that is under way is not lost. @param {import("./phone.js").Dialled} dialled */
  update(dialled) {
    const { call, outcome, reason } = dialled;
    if (this.#dialled?.call !== call) this.#face.replaceChildren(face(call));
    if (!this.#dialled || Boolean(this.#dialled.outcome) !== Boolean(outcome)) this.#actions.replaceChildren(...(outcome ? this.over : this.waiting));
    this.#dialled = dialled;
    text(this.#title, titleOf(call));
    this.#pulse.hidden = outcome !== null;
    const count = call.called.filter(({ state }) => state === "ringing").length;
    localize(this.#state, `phone.${stateOf(dialled, count)}`, { name: titleOf(call), why: reason, count });
    this.#called.element.hidden = !call.isGroup;
    if (call.isGroup) this.#called.update(call.called);
    redraw(/** @type {Element} */ (this.over[1].querySelector(".icon")), call.withVideo ? "camera" : "phone");
  }
}

/** @param {import("./phone.js").Dialled} dialled @param {number} count for how many it rings, as far as is known */
function stateOf({ call, outcome, reason }, count) {
  if (outcome === "declined" && reason) return "declinedWhy";
  if (outcome) return outcome;
  if (!call.callId) return "dialling";
  return call.isGroup && count > 0 ? "callingGroup" : "calling";
}
