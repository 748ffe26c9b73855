// The callees that the reader has chosen for a group call, whatever the list below shows meanwhile.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { listed, onLanguage, localize } from "./i18n.js";

/** @typedef {import("./phone.js").Person} Person */

export class CalleePicker {
  /** @type {Map<string, Person>} */
  #people = new Map();
  #count = h("span", { class: "chosen-count", role: "status" });
  #names = h("span", { class: "row-notes chosen-names" });

  /** @param {{onCall: (people: Person[], withVideo: boolean) => void, onChange: () => void}} owner `onChange`: by this part itself */
  constructor({ onCall, onChange }) {
    const call = (/** @type {boolean} */ withVideo) => () => onCall([...this.#people.values()], withVideo);
    const clear = () => {
      this.#people.clear();
      this.#draw();
      onChange();
    };
    const button = (/** @type {string} */ key, /** @type {string} */ testid, /** @type {string} */ name, /** @type {() => void} */ click) =>
      h("button", { class: "button primary", type: "button", testid, on: { click } }, icon(name), h("span", { localize: key }));
    this.element = h(
      "div",
      { class: "chosen", testid: "chosen", hidden: true },
      h("div", { class: "chosen-words" }, this.#count, this.#names),
      h("button", { class: "icon-button", type: "button", sayLabel: "chosen.clear", sayTitle: "chosen.clear", testid: "chosen-clear", on: { click: clear } }, icon("close")),
      h("div", { class: "chosen-actions" }, button("chosen.call", "call-chosen", "phone", call(false)), button("chosen.callVideo", "call-video-chosen", "camera", call(true))),
    );
    onLanguage(() => this.#draw());
  }

  /** @param {string} userId */
  has(userId) {
    return this.#people.has(userId);
  }

  /** @param {Person} person @param {boolean} isChosen */
  choose(person, isChosen) {
    if (isChosen) this.#people.set(person.userId, person);
    else this.#people.delete(person.userId);
    this.#draw();
  }

  #draw() {
    this.element.hidden = this.#people.size === 0;
    localize(this.#count, "chosen.count", { count: this.#people.size });
    this.#names.textContent = listed([...this.#people.values()].map(({ name }) => name));
  }
}
