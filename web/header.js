// The line above the stage: which conference, since when, and whether we are connected.

import { attribute, h, text } from "./dom.js";
import { icon } from "./icons.js";
import { listed, localize, t } from "./i18n.js";
import { elapsed, startOf } from "./clock.js";
import { languageSwitch } from "./chrome.js";

export class ConferenceHeader {
  #name = h("h1", { class: "conf-name", testid: "conf-name" });
  #locked = h("span", { class: "chip", testid: "chip-locked" }, icon("lock"), h("span", { localize: "chip.locked" }));
  #lobby = h("span", { class: "chip", testid: "chip-lobby" }, icon("lobby"), h("span", { localize: "chip.lobby" }));
  #enforced = h("span", { class: "chip warn", testid: "chip-enforced", role: "status" }, icon("micHeld"), h("span", {}));
  #clock = h("span", { class: "clock", testid: "elapsed", role: "timer", sayTitle: "header.elapsed" });
  #state = h("span", { class: "link-state", testid: "state-text", role: "status" });
  /** @type {import("./roster.js").Roster|null} */
  #roster = null;
  #ticker = 0;

  /** @param {{onInvite: () => void, onDevices: () => void}} owner */
  constructor({ onInvite, onDevices }) {
    this.invite = h("button", { class: "button quiet invite", type: "button", testid: "invite", hidden: true, on: { click: onInvite } });
    this.invite.append(icon("link"), h("span", { localize: "invite.open" }));
    const devices = h("button", { class: "icon-button", type: "button", sayLabel: "devices.open", sayTitle: "devices.open", testid: "devices", on: { click: onDevices } }, icon("sliders"));
    this.element = h(
      "header",
      { class: "conf-head" },
      h("div", { class: "conf-title" }, this.#name, this.#locked, this.#lobby, this.#enforced),
      h("div", { class: "conf-meta" }, this.#state, this.#clock),
      h("div", { class: "conf-tools" }, this.invite, devices, languageSwitch()),
    );
    this.#ticker = setInterval(() => this.#tick(), 1000);
  }

  /**
   * @param {import("./live.js").LiveConference} live
   * @param {{audio: boolean, video: boolean}} forwarded what of one's own media reaches the others
   * @param {boolean} hasMedia whether sound and picture find a way
   */
  update({ roster, isOnline, isChair, self }, forwarded, hasMedia) {
    this.#roster = roster;
    if (!roster) return;
    const { locked, lobby, call } = roster.conference;
    const confName = titleOf(roster, self?.userId);
    text(this.#name, confName);
    document.title = t("title.in", { name: confName });
    this.#locked.hidden = !locked;
    this.#lobby.hidden = !lobby;
    // A device that its owner has switched off isn't held back.
    this.#drawEnforced({ audio: forwarded.audio || self?.audio === "off", video: forwarded.video || self?.video === "off" });
    this.invite.hidden = !isChair || Boolean(call);
    this.#state.dataset.online = String(isOnline);
    localize(this.#state, !isOnline ? "state.reconnecting" : hasMedia ? "state.connected" : "state.noMedia");
    this.#tick();
  }

  /** @param {{audio: boolean, video: boolean}} free what isn't held back */
  #drawEnforced({ audio, video }) {
    this.#enforced.hidden = audio && video;
    const key = audio ? "media.heldVideo" : video ? "media.heldAudio" : "media.heldBoth";
    localize(/** @type {Element} */ (this.#enforced.lastElementChild), key);
    attribute(this.#enforced, "title", t(key));
  }

  stop() {
    clearInterval(this.#ticker);
  }

  #tick() {
    const now = Date.now();
    if (this.#roster) text(this.#clock, elapsed(now - startOf(this.#roster, now)));
  }
}

/**
 * A call is with somebody: one between two, and a group's that has no name of its own but its caller's.
 * @param {import("./roster.js").Roster} roster @param {string} [selfId]
 */
function titleOf({ conference, members }, selfId) {
  const { call, confName } = conference;
  const others = members.filter(({ userId }) => userId !== selfId);
  const isNamed = call?.mode === "group" && !members.some(({ name }) => name === confName);
  return !call || isNamed || others.length === 0 ? confName : listed(others.map(({ name }) => name));
}
