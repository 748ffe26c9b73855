// A menu beside the button that opened it: arrows, Home, End and Escape as the ARIA pattern says.

import { h } from "./dom.js";
import { icon } from "./icons.js";

/**
 * @typedef {{testid: string, localize: string, icon: string, danger?: boolean, checked?: boolean, onSelect: () => void}} Item
 */

/** Space between button and menu, and between menu and window edge, in px. */
const GAP = 8;

/**
 * @param {HTMLElement} anchor
 * @param {Item[]} items
 */
export function openMenu(anchor, items) {
  const menu = h("div", { class: "menu", role: "menu", popover: "auto" });
  menu.append(...items.map((item) => entry(item, () => menu.hidePopover())));
  menu.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => move(menu, event));
  menu.addEventListener("toggle", (/** @type {ToggleEvent} */ event) => {
    anchor.setAttribute("aria-expanded", String(event.newState === "open"));
    if (event.newState === "closed") menu.remove();
  });
  // It stands beside its button, which a turned or narrowed window moves.
  addEventListener("resize", () => menu.isConnected && menu.hidePopover(), { once: true });
  document.body.append(menu);
  menu.showPopover();
  place(menu, anchor.getBoundingClientRect());
  menu.querySelector("button").focus();
}

/** @param {Item} item @param {() => void} close */
function entry({ testid, localize, icon: name, danger, checked, onSelect }, close) {
  const isToggle = checked !== undefined;
  const select = () => {
    close();
    onSelect();
  };
  return h(
    "button",
    {
      class: danger ? "menu-item danger" : "menu-item",
      type: "button",
      role: isToggle ? "menuitemcheckbox" : "menuitem",
      "aria-checked": isToggle ? String(checked) : null,
      tabindex: "-1",
      testid,
      on: { click: select },
    },
    icon(name),
    h("span", { localize }),
    isToggle && h("span", { class: "switch", "aria-hidden": "true" }),
  );
}

/** Below the anchor if there is room, above it otherwise, and inside the window. @param {HTMLElement} menu @param {DOMRect} at */
function place(menu, at) {
  const { width, height } = menu.getBoundingClientRect();
  const isRoomBelow = at.bottom + GAP + height <= innerHeight - GAP;
  const top = isRoomBelow ? at.bottom + GAP : Math.max(GAP, at.top - GAP - height);
  const left = Math.min(Math.max(GAP, at.right - width), innerWidth - width - GAP);
  menu.style.top = `${top}px`;
  menu.style.left = `${Math.max(GAP, left)}px`;
}

/** @param {HTMLElement} menu @param {KeyboardEvent} event */
function move(menu, event) {
  const buttons = /** @type {HTMLElement[]} */ ([...menu.querySelectorAll("button")]);
  const at = buttons.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
  if (event.key === "Tab") menu.hidePopover();
  if (next === undefined) return;
  event.preventDefault();
  buttons[(next + buttons.length) % buttons.length].focus();
}
