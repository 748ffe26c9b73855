// Group calls that go on without the reader, who may come into them: declined, missed, or left.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { localize } from "./i18n.js";
import { titleOf } from "./phone-screens.js";

export class OngoingCalls {
  element = h("ul", { class: "going-on", testid: "going-on", hidden: true });
  #drawn = "";

  /** @param {import("./phone.js").Phone} phone */
  constructor(phone) {
    this.phone = phone;
    this.update();
  }

  /** The phone's state has changed. */
  update() {
    const { ongoing } = this.phone;
    const drawn = ongoing.map((call) => `${call.callId} ${titleOf(call)}`).join("\n");
    if (drawn === this.#drawn) return; // a press that is under way is not lost
    this.#drawn = drawn;
    this.element.hidden = ongoing.length === 0;
    this.element.replaceChildren(...ongoing.map((call) => this.#row(call)));
  }

  /** @param {import("./phone.js").PhoneCall} call */
  #row(call) {
    const words = h("span", { class: "going-on-words" });
    localize(words, "goingOn.with", { name: titleOf(call) });
    const button = (/** @type {string} */ key, /** @type {string} */ testid, /** @type {string} */ name, /** @type {boolean} */ withVideo) => {
      const click = () => void this.phone.accept(call, withVideo);
      return h("button", { class: "button small primary", type: "button", testid: `${testid}-${call.callId}`, on: { click } }, icon(name), h("span", { localize: key }));
    };
    return h("li", {}, words, button("goingOn.join", "join", "phone", false), button("goingOn.joinVideo", "join-video", "camera", true));
  }
}
