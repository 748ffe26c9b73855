// The panels beside the stage. Where there is room both are seen; on a small screen one at a time, by tabs.

import { attribute, h, text } from "./dom.js";
import { icon } from "./icons.js";

export class SidePanels {
  #unread = 0;
  #badges = { members: h("span", { class: "badge" }), chat: h("span", { class: "badge" }) };

  /** @param {HTMLElement} members @param {HTMLElement} chat */
  constructor(members, chat) {
    this.tabs = { members: this.#tab("members", "people"), chat: this.#tab("chat", "chat") };
    const bar = h("div", { class: "tabs", role: "tablist" }, this.tabs.members, this.tabs.chat);
    bar.addEventListener("keydown", (/** @type {KeyboardEvent} */ { key }) => {
      if (key === "ArrowLeft" || key === "ArrowRight") this.#choose(this.element.dataset.panel === "chat" ? "members" : "chat", true);
    });
    this.element = h("aside", { class: "side" }, bar, members, chat);
    this.#choose("members");
  }

  /** @param {"members"|"chat"} name @param {string} picture */
  #tab(name, picture) {
    const tab = h("button", { class: "tab", type: "button", role: "tab", "aria-controls": `panel-${name}`, testid: `tab-${name}` });
    tab.append(icon(picture), h("span", { localize: `${name}.tab` }), this.#badges[name]);
    tab.addEventListener("click", () => this.#choose(name));
    return tab;
  }

  /** @param {"members"|"chat"} name @param {boolean} [isByKey] */
  #choose(name, isByKey = false) {
    this.element.dataset.panel = name;
    for (const [each, tab] of Object.entries(this.tabs)) {
      attribute(tab, "aria-selected", String(each === name));
      attribute(tab, "tabindex", each === name ? "0" : "-1");
    }
    if (name === "chat") this.#unread = 0;
    this.#drawUnread();
    if (isByKey) this.tabs[name].focus();
  }

  /** Whether a panel is in sight. @param {"members"|"chat"} name */
  isSeen(name) {
    const isTabbed = getComputedStyle(this.tabs.chat.parentElement).display !== "none";
    return !isTabbed || this.element.dataset.panel === name;
  }

  /** A message came; it counts while the chat is out of sight. */
  markUnread() {
    if (!this.isSeen("chat")) this.#unread += 1;
    this.#drawUnread();
  }

  /** @param {import("./roster.js").Roster} roster @param {boolean} isChair */
  update({ members, waiting }, isChair) {
    const isAsking = isChair && waiting.length > 0;
    text(this.#badges.members, String(isAsking ? waiting.length : members.length));
    this.#badges.members.classList.toggle("alert", isAsking);
  }

  #drawUnread() {
    this.#badges.chat.hidden = this.#unread === 0;
    this.#badges.chat.classList.add("alert");
    text(this.#badges.chat, this.#unread > 99 ? "99+" : String(this.#unread));
  }
}
