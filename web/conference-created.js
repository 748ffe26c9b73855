// A conference was made: its link, to copy or to scan, and the way in.

import { h } from "./dom.js";
import { say } from "./i18n.js";
import { linkCard } from "./invite.js";
import { openWindow } from "./dialog.js";

/** @typedef {import("./roster.js").Conference & {password: string, link: import("./invite.js").NewLink}} Made */

/**
 * @param {Made} made the result of `conference.create`
 * @param {import("./toasts.js").Toasts} toasts
 * @param {(conference: import("./roster.js").Conference) => void} onEnter
 */
export function openMade(made, toasts, onEnter) {
  const lead = h("p", { testid: "made-name" });
  say(lead, "made.lead", { name: made.confName });
  const password = h("p", { testid: "made-password" });
  say(password, "home.password", { password: made.password });
  const card = h("div", { class: "invite-fresh" }, ...linkCard(made.link, toasts));
  const enter = h("button", { class: "button primary big", type: "button", testid: "made-enter", say: "home.enter" });
  const content = h("div", { class: "invite-body" }, lead, card, password, enter);
  enter.addEventListener("click", () => {
    content.closest("dialog")?.close();
    onEnter(made);
  });
  openWindow("made.title", content);
}
