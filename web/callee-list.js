// The people whom a call rings, with what became of each: while it rings, and beside those who are in it.

import { KeyedList, h, text } from "./dom.js";
import { localize } from "./i18n.js";
import { avatar, drawAvatar } from "./avatar.js";

/** @typedef {import("./callee-status.js").Callee} Callee */

class CalleeRow {
  #avatar = avatar();
  #name = h("bdi", { class: "row-name" });
  #state = h("span", { class: "row-notes called-state" });

  /** @param {string} userId */
  constructor(userId) {
    const who = h("span", { class: "row-who" }, this.#name, this.#state);
    this.element = h("li", { class: "row called-row", testid: `called-${userId}` }, this.#avatar, who);
  }

  /** @param {Callee} called */
  update(called) {
    const { name, state, reason } = called;
    drawAvatar(this.#avatar, called);
    text(this.#name, name);
    this.element.dataset.state = state;
    localize(this.#state, reason ? "called.declinedWhy" : `called.${state}`, { why: reason });
  }
}

export class CalleeList {
  element = h("ul", { class: "rows called-rows", testid: "called", role: "list" });
  #rows = new KeyedList(this.element, {
    key: (/** @type {Callee} */ { userId }) => userId,
    create: ({ userId }) => new CalleeRow(userId),
    update: (row, called) => row.update(called),
  });

  /** @param {Callee[]} called */
  update(called) {
    this.#rows.update(called);
  }
}
