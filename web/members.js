// The conference's members, and those that wait for admission.

import { Drawn, KeyedList, attribute, h, text } from "./dom.js";
import { icon, redraw } from "./icons.js";
import { localize, t } from "./i18n.js";
import { audioIcon, avatar, drawAvatar } from "./avatar.js";
import { CalleeList } from "./callee-list.js";

/** @typedef {import("./roster.js").Member} Member */

class MemberRow {
  #avatar = avatar();
  #name = h("bdi", { class: "row-name" });
  #notes = h("span", { class: "row-notes" });
  #hand = h("span", { class: "row-hand", sayTitle: "member.hand" }, icon("hand"));
  #audio = h("span", { class: "row-audio" }, icon("mic"));
  #video = h("span", { class: "row-video" }, icon("camera"));
  #drawn = new Drawn();

  /** @param {string} userId @param {(anchor: HTMLElement) => void} onMenu */
  constructor(userId, onMenu) {
    this.menu = h("button", { class: "icon-button", type: "button", "aria-haspopup": "menu", testid: `menu-${userId}` }, icon("more"));
    this.menu.addEventListener("click", () => onMenu(this.menu));
    const who = h("span", { class: "row-who" }, this.#name, this.#notes);
    this.element = h(
      "li",
      { class: "row", testid: `member-${userId}` },
      this.#avatar,
      who,
      this.#hand,
      this.#audio,
      this.#video,
      this.menu,
    );
  }

  /** @param {Member} member @param {boolean} isSelf @param {boolean} hasMenu */
  update(member, isSelf, hasMenu) {
    if (!this.#drawn.isNew(member, isSelf, hasMenu)) return;
    drawAvatar(this.#avatar, member);
    text(this.#name, isSelf ? t("member.you", { name: member.name }) : member.name);
    const state = member.state === "reconnecting" ? t("member.reconnecting") : "";
    text(this.#notes, [t(`role.${member.role}`), state].filter(Boolean).join(" · "));
    this.#picture(this.#audio, audioIcon(member.audio), `audio.${member.audio}`);
    this.#picture(this.#video, member.video === "on" ? "camera" : "cameraOff", `video.${member.video}`);
    Object.assign(this.element.dataset, {
      role: member.role,
      state: member.state,
      audio: member.audio,
      video: member.video,
      hand: String(member.hand),
    });
    attribute(this.menu, "aria-label", t("member.menu", { name: member.name }));
    this.menu.classList.toggle("absent", !hasMenu);
    this.menu.disabled = !hasMenu;
  }

  /** @param {HTMLElement} place @param {string} name @param {string} key */
  #picture(place, name, key) {
    redraw(/** @type {Element} */ (place.firstElementChild), name);
    attribute(place, "title", t(key));
    attribute(place, "role", "img");
    attribute(place, "aria-label", t(key));
  }
}

class WaitingRow {
  #avatar = avatar();
  #name = h("bdi", { class: "row-name" });

  /** @param {string} userId @param {(action: "admit"|"deny") => void} onAnswer */
  constructor(userId, onAnswer) {
    const button = (/** @type {"admit"|"deny"} */ action, /** @type {string} */ style) =>
      h("button", { class: `button small ${style}`, type: "button", localize: `waiting.${action}`, testid: `${action}-${userId}`, on: { click: () => onAnswer(action) } });
    this.element = h(
      "li",
      { class: "row", testid: `waiting-${userId}` },
      this.#avatar,
      h("span", { class: "row-who" }, this.#name),
      button("deny", "quiet"),
      button("admit", "primary"),
    );
  }

  /** @param {Member} member */
  update(member) {
    drawAvatar(this.#avatar, member);
    text(this.#name, member.name);
  }
}

export class MembersPanel {
  #heading = h("h2", {});
  #list = h("ul", { class: "rows", testid: "members" });
  #waitingHeading = h("h2", {});
  /** For those who listen: a list that comes into sight is not read out by itself. */
  #knock = h("p", { class: "unseen", role: "status" });
  #waitingList = h("ul", { class: "rows", testid: "waiting" });
  #calledHeading = h("h2", {});
  #called = new CalleeList();

  /**
   * @param {{onMenu: (member: Member, anchor: HTMLElement) => void, onAnswer: (action: "admit"|"deny", userId: string) => void,
   *   onAdmitAll: () => void}} owner
   */
  constructor({ onMenu, onAnswer, onAdmitAll }) {
    const all = h("button", { class: "button small", type: "button", localize: "waiting.admitAll", testid: "admit-all", on: { click: onAdmitAll } });
    const waitingHead = h("header", { class: "panel-head" }, this.#waitingHeading, all);
    this.waiting = h("section", { class: "waiting", hidden: true }, waitingHead, this.#waitingList);
    const members = h("section", { class: "members" }, h("header", { class: "panel-head" }, this.#heading), this.#list);
    this.called = h("section", { class: "called", hidden: true }, h("header", { class: "panel-head" }, this.#calledHeading), this.#called.element);
    this.element = h("div", { class: "panel people", id: "panel-members" }, this.#knock, this.waiting, members, this.called);
    this.rows = this.#memberRows(onMenu);
    this.waiters = new KeyedList(this.#waitingList, {
      key: (/** @type {Member} */ { userId }) => userId,
      create: ({ userId }) => new WaitingRow(userId, (action) => onAnswer(action, userId)),
      update: (row, member) => row.update(member),
    });
  }

  /** @param {(member: Member, anchor: HTMLElement) => void} onMenu */
  #memberRows(onMenu) {
    /** @type {Map<string, Member>} */
    const latest = new Map();
    return new KeyedList(this.#list, {
      key: (/** @type {{member: Member, isSelf: boolean, hasMenu: boolean}} */ { member }) => member.userId,
      create: ({ member: { userId } }) => new MemberRow(userId, (anchor) => onMenu(/** @type {Member} */ (latest.get(userId)), anchor)),
      update: (row, { member, isSelf, hasMenu }) => {
        latest.set(member.userId, member);
        row.update(member, isSelf, hasMenu);
      },
    });
  }

  /**
   * @param {import("./roster.js").Roster} roster
   * @param {string} selfId
   * @param {boolean} isChair
   * @param {import("./callee-status.js").Callee[]} called who doesn't come, or not yet, of those whom one's own call rings
   */
  update(roster, selfId, isChair, called) {
    const rows = roster.members.map((member) => ({
      member,
      isSelf: member.userId === selfId,
      hasMenu: isChair || member.userId !== selfId,
    }));
    this.rows.update(rows);
    this.waiting.hidden = !isChair || roster.waiting.length === 0;
    text(this.#knock, this.waiting.hidden ? "" : t("waiting.heading", { count: roster.waiting.length }));
    this.waiters.update(isChair ? roster.waiting : []);
    this.called.hidden = called.length === 0;
    this.#called.update(called);
    localize(this.#calledHeading, "called.heading", { count: called.length });
    localize(this.#heading, "members.heading", { count: roster.members.length });
    localize(this.#waitingHeading, "waiting.heading", { count: roster.waiting.length });
  }
}
