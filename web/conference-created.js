// A conference was made: its link, to copy or to scan, and the way in.

import { h } from "./dom.js";
import { localize } from "./i18n.js";
import { linkCard } from "./invite.js";
import { openWindow } from "./dialog.js";

/** @typedef {import("./roster.js").Conference & {password: string, link: import("./invite.js").NewLink}} CreatedConference */

/**
 * @param {CreatedConference} made the result of `conference.create`
 * @param {import("./toasts.js").Toasts} toasts
 * @param {(conference: import("./roster.js").Conference) => void} onEnter
 */
export function openCreated(made, toasts, onEnter) {
  const lead = h("p", { testid: "made-name" });
  localize(lead, "made.lead", { name: made.confName });
  const password = h("p", { testid: "made-password" });
  localize(password, "home.password", { password: made.password });
  const card = h("div", { class: "invite-fresh" }, ...linkCard(made.link, toasts));
  const enter = h("button", { class: "button primary big", type: "button", testid: "made-enter", localize: "home.enter" });
  const content = h("div", { class: "invite-body" }, lead, card, password, enter);
  enter.addEventListener("click", () => {
    content.closest("dialog")?.close();
    onEnter(made);
  });
  openWindow("made.title", content);
}
