// A conference was made: its link, to copy or to scan, and the way in.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { say } from "./i18n.js";
import { linkCard } from "./invite.js";
import { openWindow } from "./dialog.js";

/**
 * @param {{conference: any, link: import("./invite.js").Link}} made the result of `conference.create`
 * @param {import("./rpc.js").Rpc} rpc
 * @param {import("./toasts.js").Toasts} toasts
 * @param {(conference: any) => void} onEnter
 */
export function openMade({ conference, link }, rpc, toasts, onEnter) {
  const lead = h("p", { testid: "made-name" });
  say(lead, "made.lead", { name: conference.confName });
  const card = h("div", { class: "invite-fresh" }, ...linkCard(link, toasts));
  const enter = h("button", { class: "button primary big", type: "button", testid: "made-enter", say: "home.enter" });
  const content = h("div", { class: "invite-body" }, lead, card, enter);
  enter.addEventListener("click", () => {
    content.closest("dialog")?.close();
    onEnter(conference);
  });
  openWindow("made.title", content);
}
