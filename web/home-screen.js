// The list of one's conferences and the form for a new one.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { currentLanguage, onLanguage, localize, t } from "./i18n.js";
import { brand, languageSwitch } from "./chrome.js";
import { confirmed } from "./dialog.js";
import { openInvite } from "./invite.js";
import { openCreated } from "./conference-created.js";
import { CreateForm } from "./create-form.js";
import { OngoingCalls } from "./ongoing-calls.js";
import { People } from "./people.js";

/** @typedef {import("./roster.js").Conference} Conference */

export class HomeScreen {
  #list = h("ul", { class: "conf-list", testid: "conferences" });
  #none = h("p", { class: "empty", localize: "home.none", hidden: true });
  /** @type {Conference[]} */
  #conferences = [];

  /**
   * @param {{rpc: import("./rpc.js").Rpc, toasts: import("./toasts.js").Toasts, phone: import("./phone.js").Phone,
   *   onEnter: (conference: Conference) => void, onSignOut: () => void}} owner
   */
  constructor(owner) {
    this.owner = owner;
    this.people = new People(owner);
    this.ongoing = new OngoingCalls(owner.phone);
    this.form = new CreateForm((params) => this.#create(params));
    const name = h("bdi", { class: "user-name", testid: "user-name" }, owner.rpc.session.name);
    const out = h("button", { class: "button quiet small", type: "button", localize: "home.signOut", testid: "sign-out", on: { click: owner.onSignOut } });
    const docs = h("a", { class: "button quiet small docs-link", href: "docs", localize: "home.docs" });
    const top = h("header", { class: "top" }, brand(), h("div", { class: "top-tools" }, name, docs, languageSwitch(), out));
    const mine = h("section", { class: "home-list" }, h("h2", { localize: "home.mine" }), this.#none, this.#list);
    this.element = h("div", { class: "home" }, top, h("main", { class: "home-body" }, h("h1", { class: "unseen", localize: "brand" }), this.ongoing.element, this.form.element, mine, this.people.element));
    onLanguage(() => this.element.isConnected && this.#draw());
  }

  /** The phone's state has changed. */
  update() {
    this.people.update();
    this.ongoing.update();
  }

  async refresh() {
    void this.people.refresh();
    const { conferences } = await this.owner.rpc.call("conference.list");
    this.#conferences = conferences;
    this.#draw();
  }

  #draw() {
    this.#none.hidden = this.#conferences.length > 0;
    this.#list.replaceChildren(...this.#conferences.map((conference) => this.#row(conference)));
  }

  /** @param {object} params of `conference.create` */
  async #create(params) {
    const { rpc, toasts } = this.owner;
    const made = await toasts.attempt(() => rpc.call("conference.create", { ...params, qr: true }));
    if (!made) return false;
    toasts.attempt(() => this.refresh());
    openCreated(made, toasts, this.owner.onEnter);
    return true;
  }

  /** @param {Conference} conference */
  #row(conference) {
    const { confId, confName, state, chair } = conference;
    const { rpc, toasts } = this.owner;
    const isOwn = chair === rpc.session.userId;
    const button = (/** @type {string} */ key, /** @type {string} */ testid, /** @type {string} */ style, /** @type {() => void} */ click) =>
      h("button", { class: `button small ${style}`, type: "button", localize: key, testid: `${testid}-${confId}`, on: { click } });
    const status = h("span", { class: `chip state-${state}` });
    localize(status, state === 0 ? "home.open" : "home.notStarted");
    return h(
      "li",
      { class: "conf-card", testid: `conference-${confId}` },
      h("div", { class: "conf-card-head" }, h("h3", {}, h("bdi", {}, confName)), status),
      h("p", { class: "row-notes" }, factsOf(conference)),
      h(
        "div",
        { class: "conf-card-actions" },
        button("home.enter", "enter", "primary", () => this.owner.onEnter(conference)),
        isOwn && button("home.invite", "invite", "quiet", () => openInvite(confId, rpc, toasts)),
        isOwn && button("home.end", "end", "danger-quiet", () => this.#end(conference)),
      ),
    );
  }

  /** @param {Conference} conference */
  async #end({ confId, confName }) {
    if (!(await confirmed("confirm.end", { name: confName }))) return;
    const { rpc, toasts } = this.owner;
    await toasts.attempt(() => rpc.call("conference.end", { confId }));
    await toasts.attempt(() => this.refresh());
  }
}

/** @param {Conference} conference */
function factsOf({ startAt, lobby, locked }) {
  const locale = currentLanguage() === "zh" ? "zh-CN" : "en-GB";
  const facts = [
    startAt && t("home.startsAt", { when: new Date(startAt).toLocaleString(locale, { dateStyle: "medium", timeStyle: "short" }) }),
    lobby && t("chip.lobby"),
    locked && t("chip.locked"),
  ];
  return facts.filter(Boolean).join(" · ");
}
