// The address book on the home page: whom one can call.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { onLanguage, t } from "./i18n.js";
import { avatar, drawAvatar } from "./avatar.js";
import { RpcError } from "./rpc.js";

/** People that are listed without a search. */
const LISTED = 50;
/** A search that was typed at within this is not finished. */
const TYPING_MS = 250;

/** @typedef {import("./phone.js").Person & {email?: string, mobile?: string, isLoggedIn?: boolean}} Contact */

export class People {
  #list = h("ul", { class: "people-list", testid: "people" });
  #none = h("p", { class: "empty", say: "people.none", hidden: true });
  #search = h("input", { class: "field", type: "search", maxlength: "128", autocomplete: "off", sayPlaceholder: "people.search", sayLabel: "people.search", testid: "people-search" });
  #elsewhere = h("p", { class: "people-elsewhere", role: "status", hidden: true });
  /** @type {Contact[]} */
  #contacts = [];
  #typing = 0;
  /** Counts the questions: an answer to a former one is stale. */
  #asked = 0;

  /** @param {{rpc: import("./rpc.js").Rpc, toasts: import("./toasts.js").Toasts, phone: import("./phone.js").Phone}} owner */
  constructor(owner) {
    this.owner = owner;
    const back = h("button", { class: "button small", type: "button", say: "people.takeBack", testid: "line-take-back", on: { click: () => owner.phone.takeBack() } });
    this.#elsewhere.append(h("span", { say: "people.elsewhere" }), back);
    this.element = h("section", { class: "home-people" }, h("h2", { say: "people.title" }), this.#elsewhere, this.#search, this.#none, this.#list);
    this.#search.addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => void this.refresh(), TYPING_MS);
    });
    onLanguage(() => this.element.isConnected && this.#draw());
    this.update();
  }

  /** What the phone says has changed. */
  update() {
    this.#elsewhere.hidden = !this.owner.phone.isElsewhere;
  }

  async refresh() {
    const { rpc, toasts } = this.owner;
    const query = this.#search.value.trim();
    const asked = ++this.#asked;
    let answer;
    try {
      answer = await (query ? rpc.call("org.contacts.search", { query }) : rpc.call("org.contacts.users", { limit: LISTED }));
    } catch (error) {
      if (query) return toasts.failure(error);
      if (!(error instanceof RpcError)) throw error;
      // Where there is no address book, or none for this user, nobody misses it.
      this.element.hidden = this.#contacts.length === 0;
      return;
    }
    if (asked !== this.#asked) return;
    this.element.hidden = false;
    this.#contacts = answer.users.filter((/** @type {Contact} */ { userId }) => userId !== rpc.session.userId);
    this.#none.hidden = this.#contacts.length > 0;
    this.#draw();
  }

  #draw() {
    this.#list.replaceChildren(...this.#contacts.map((contact) => this.#row(contact)));
  }

  /** @param {Contact} contact */
  #row(contact) {
    const { userId, email, mobile } = contact;
    const person = { userId, name: contact.name || userId };
    const picture = avatar();
    drawAvatar(picture, person);
    const button = (/** @type {string} */ key, /** @type {string} */ testid, /** @type {string} */ name, /** @type {boolean} */ withVideo) => {
      const call = () => void this.owner.phone.call(person, withVideo);
      const label = t(key, { name: person.name });
      return h("button", { class: "icon-button", type: "button", "aria-label": label, title: label, testid: `${testid}-${userId}`, on: { click: call } }, icon(name));
    };
    const notes = [email, mobile].filter(Boolean).join(" · ");
    return h(
      "li",
      { class: "person", testid: `person-${userId}` },
      picture,
      h("div", { class: "person-words" }, h("bdi", { class: "person-name" }, person.name), h("span", { class: "row-notes" }, notes || userId)),
      h("div", { class: "person-actions" }, button("people.call", "call", "phone", false), button("people.callVideo", "call-video", "camera", true)),
    );
  }
}
