// Windows above the page. The browser's own <dialog> keeps the focus inside and gives Escape.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { localize } from "./i18n.js";

/**
 * Asks before something that can't be taken back. `say` is a catalogue prefix: `.title`, `.body` and `.ok` belong to it.
 * @param {string} prefix
 * @param {Record<string, string>} params
 * @param {boolean} [isDanger]
 * @returns {Promise<boolean>}
 */
export function confirmed(prefix, params, isDanger = true) {
  const title = h("h2", { id: "confirm-title" });
  const body = h("p", { id: "confirm-body" });
  localize(title, `${prefix}.title`, params);
  localize(body, `${prefix}.body`, params);
  const button = (/** @type {string} */ value, /** @type {string} */ key, /** @type {string} */ style) =>
    h("button", { class: `button ${style}`, value, localize: key, testid: `confirm-${value}` });
  const dialog = h(
    "dialog",
    { class: "dialog", role: "alertdialog", "aria-labelledby": "confirm-title", "aria-describedby": "confirm-body" },
    title,
    body,
    // The first button has the focus: the harmless one.
    h(
      "form",
      { method: "dialog", class: "dialog-actions" },
      button("cancel", "confirm.cancel", "quiet"),
      button("ok", `${prefix}.ok`, isDanger ? "danger" : "primary"),
    ),
  );
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "ok");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/**
 * A window with a title and content of its own.
 * @param {string} titleKey
 * @param {HTMLElement} content
 */
export function openWindow(titleKey, content) {
  const dialog = h("dialog", { class: "dialog wide", "aria-labelledby": "window-title" });
  const close = h(
    "button",
    { class: "icon-button", type: "button", sayLabel: "dialog.close", testid: "dialog-close", on: { click: () => dialog.close() } },
    icon("close"),
  );
  const head = h("header", { class: "dialog-head" }, h("h2", { id: "window-title", localize: titleKey }), close);
  dialog.append(head, content);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (/** @type {MouseEvent} */ { target }) => target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
}
