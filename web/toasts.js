// Passing words at the edge of the page, read out by screen readers. Nothing else on the page moves for them.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { errorText, localize } from "./i18n.js";
import { RpcError } from "./rpc.js";

const SHOWN_MS = 5_000;
/** And for each character: slow readers read some twenty in a second, of Chinese fewer but it needs fewer. */
const READING_MS = 50;
/** More would hide the page. */
const AT_MOST = 4;

export class Toasts {
  /** A popover, so that it can stand above an open dialog and its backdrop. */
  element = h("div", { class: "toasts", role: "status", "aria-live": "polite", popover: "manual", testid: "toasts" });

  /**
   * @param {string} key @param {Record<string, string|number>} [params]
   * @param {{localize: string, testid: string, onSelect: () => void}} [action] a button in the toast
   * @returns {() => void} takes it away before its time
   */
  show(key, params = {}, action) {
    const words = h("span", {});
    localize(words, key, params);
    return this.#add(words, "", action);
  }

  /** A failed call in the reader's words; anything else is a fault of this page and goes on to the console. @param {unknown} error */
  failure(error) {
    if (!(error instanceof RpcError)) throw error;
    this.#add(h("span", {}, errorText(error)), "bad");
  }

  /**
   * Does something that may be refused, and says so if it is.
   * @template T @param {() => Promise<T>} work @returns {Promise<T|undefined>}
   */
  async attempt(work) {
    try {
      return await work();
    } catch (error) {
      this.failure(error);
      return undefined;
    }
  }

  /** @param {HTMLElement} words @param {string} kind @param {{localize: string, testid: string, onSelect: () => void}} [action] */
  #add(words, kind, action) {
    const toast = h("div", { class: `toast ${kind}` }, kind === "bad" && icon("warn"), words);
    const away = () => toast.remove();
    if (action) {
      const select = () => {
        away();
        action.onSelect();
      };
      toast.append(h("button", { class: "button small", type: "button", localize: action.localize, testid: action.testid, on: { click: select } }));
    }
    const said = words.textContent ?? "";
    for (const former of [...this.element.children]) {
      if (former.querySelector("span")?.textContent === said) former.remove(); // said again, shown once
    }
    this.element.append(toast);
    this.#raise();
    while (this.element.children.length > AT_MOST) this.element.firstElementChild?.remove();
    setTimeout(away, SHOWN_MS + said.length * READING_MS);
    return away;
  }

  /** The newest toast lies on top. */
  #raise() {
    if (!this.element.isConnected) return;
    this.element.hidePopover();
    this.element.showPopover();
  }
}
