// A chair asks for one's microphone: the question stays until it is answered, and only the answer opens anything.

import { h } from "./dom.js";
import { icon } from "./icons.js";

export class UnmuteAsk {
  /** Said aloud when it comes; the buttons are reached by the keyboard like any other. */
  #words = h("p", { role: "alert" });

  /** @param {{onAccept: () => void, onDecline: () => void}} owner */
  constructor({ onAccept, onDecline }) {
    const button = (/** @type {string} */ name, /** @type {string} */ look, /** @type {() => void} */ click) =>
      h("button", { class: `button small ${look}`, type: "button", localize: `ask.${name}`, testid: `ask-${name}`, on: { click } });
    const actions = h("div", { class: "ask-actions" }, button("decline", "quiet", onDecline), button("accept", "primary", onAccept));
    this.element = h("section", { class: "ask", sayLabel: "ask.label", testid: "ask", hidden: true }, icon("mic"), this.#words, actions);
  }

  /** @param {boolean} isAsked */
  update(isAsked) {
    if (this.element.hidden !== isAsked) return;
    this.element.hidden = !isAsked;
    this.#words.replaceChildren(...(isAsked ? [h("span", { localize: "ask.words" })] : []));
  }
}
