// The address book on the home page: whom one can call, one, several, or a department.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { onLanguage, localize, t } from "./i18n.js";
import { avatar, drawAvatar } from "./avatar.js";
import { CalleePicker } from "./callee-picker.js";
import { RpcError } from "./rpc.js";

/** People that are listed without a search. */
const LISTED = 50;
/** A search that was typed at within this is not finished. */
const TYPING_MS = 250;

/** @typedef {import("./phone.js").Person & {email?: string, mobile?: string}} Contact */
/** @typedef {import("./phone.js").Department} Department */
/** @typedef {import("./phone.js").Whom} Whom */

export class People {
  #departmentList = h("ul", { class: "people-list departments", testid: "departments" });
  #list = h("ul", { class: "people-list", testid: "people" });
  #none = h("p", { class: "empty", localize: "people.none", hidden: true });
  #search = h("input", { class: "field", type: "search", maxlength: "128", autocomplete: "off", sayPlaceholder: "people.search", sayLabel: "people.search", testid: "people-search" });
  #elsewhere = h("p", { class: "people-elsewhere", role: "status", hidden: true });
  #place = h("div", { class: "people-place", hidden: true });
  #chosen;
  /** @type {Contact[]} */
  #contacts = [];
  /** Those of the department that is open, or the topmost. @type {Department[]} */
  #departments = [];
  /** From the topmost to the one that is open. @type {Department[]} */
  #path = [];
  #typing = 0;
  /** Counts the questions: an answer to a former one is stale. */
  #asked = 0;

  /** @param {{rpc: import("./rpc.js").Rpc, toasts: import("./toasts.js").Toasts, phone: import("./phone.js").Phone}} owner */
  constructor(owner) {
    this.owner = owner;
    const back = h("button", { class: "button small", type: "button", localize: "people.takeBack", testid: "line-take-back", on: { click: () => owner.phone.takeBack() } });
    this.#elsewhere.append(h("span", { localize: "people.elsewhere" }), back);
    this.#chosen = new CalleePicker({ onCall: (people, withVideo) => this.#call({ people }, withVideo), onChange: () => this.#draw() });
    const lists = [this.#departmentList, this.#none, this.#list];
    this.element = h("section", { class: "home-people" }, h("h2", { localize: "people.title" }), this.#elsewhere, this.#search, this.#place, ...lists, this.#chosen.element);
    this.#search.addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => void this.refresh(), TYPING_MS);
    });
    onLanguage(() => this.element.isConnected && this.#draw());
    this.update();
  }

  /** The phone's state has changed. */
  update() {
    this.#elsewhere.hidden = !this.owner.phone.isElsewhere;
  }

  async refresh() {
    const { rpc, toasts } = this.owner;
    const query = this.#search.value.trim();
    const asked = ++this.#asked;
    const departmentId = this.#path.at(-1)?.departmentId;
    const departments = query ? [] : this.#departmentsIn(departmentId);
    let answer;
    try {
      const listed = { limit: LISTED, ...(departmentId && { departmentId }) };
      answer = await (query ? rpc.call("org.contacts.search", { query }) : rpc.call("org.contacts.users", listed));
    } catch (error) {
      // A department that is open no longer is: what was shown before stays.
      if (departmentId && !query) this.#path.pop();
      if (query || departmentId) return toasts.failure(error);
      if (!(error instanceof RpcError)) throw error;
      // Where there is no address book, or none for this user, nobody misses it.
      this.element.hidden = this.#contacts.length === 0;
      return;
    }
    const within = await departments;
    if (asked !== this.#asked) return;
    this.#departments = within;
    this.element.hidden = false;
    this.#contacts = answer.users.filter((/** @type {Contact} */ { userId }) => userId !== rpc.session.userId);
    this.#draw();
  }

  /** An address book may well have none. @param {string} [parentId] @returns {Promise<Department[]>} */
  async #departmentsIn(parentId) {
    try {
      return (await this.owner.rpc.call("org.contacts.departments", parentId ? { parentId } : {})).departments;
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      return [];
    }
  }

  /** @param {Department[]} path */
  #open(path) {
    this.#path = [...path];
    this.#search.value = "";
    void this.refresh();
  }

  /** @param {Whom} whom @param {boolean} withVideo */
  #call(whom, withVideo) {
    void this.owner.phone.call(whom, withVideo);
  }

  #draw() {
    this.#none.hidden = this.#contacts.length + this.#departments.length > 0;
    this.#drawPlace();
    this.#departmentList.replaceChildren(...this.#departments.map((department) => this.#departmentRow(department)));
    this.#list.replaceChildren(...this.#contacts.map((contact) => this.#row(contact)));
  }

  /** Which department is open, and the way back. */
  #drawPlace() {
    const open = this.#path.at(-1);
    const isShown = open !== undefined && this.#search.value.trim() === "";
    this.#place.hidden = !isShown;
    if (!open || !isShown) return this.#place.replaceChildren();
    const label = t("people.back");
    const back = h("button", { class: "icon-button", type: "button", "aria-label": label, title: label, testid: "people-back", on: { click: () => this.#open(this.#path.slice(0, -1)) } }, icon("back"));
    this.#place.replaceChildren(back, h("h3", {}, h("bdi", {}, open.name)), this.#departmentActions(open));
  }

  /** @param {Department} department */
  #departmentRow(department) {
    const { departmentId, name } = department;
    const open = h("button", { class: "department-open", type: "button", testid: `department-${departmentId}`, on: { click: () => this.#open([...this.#path, department]) } });
    open.append(h("span", { class: "avatar department-picture", "aria-hidden": "true" }, icon("people")), h("bdi", { class: "person-name" }, name), icon("next"));
    return h("li", { class: "person department" }, open, this.#departmentActions(department));
  }

  /** @param {Department} department */
  #departmentActions(department) {
    const { departmentId, name } = department;
    return actions(`group-${departmentId}`, name, ["people.callGroup", "people.callGroupVideo"], (withVideo) => this.#call({ people: [], department }, withVideo));
  }

  /** @param {Contact} contact */
  #row(contact) {
    const { userId, email, mobile } = contact;
    const person = { userId, name: contact.name || userId };
    const picture = avatar();
    drawAvatar(picture, person);
    const notes = [email, mobile].filter(Boolean).join(" · ");
    const words = h("span", { class: "person-words" }, h("bdi", { class: "person-name" }, person.name), h("span", { class: "row-notes" }, notes || userId));
    const box = h("input", { type: "checkbox", testid: `choose-${userId}`, "aria-label": t("people.choose", { name: person.name }) });
    box.checked = this.#chosen.has(userId);
    box.addEventListener("change", () => this.#chosen.choose(person, box.checked));
    return h(
      "li",
      { class: "person", testid: `person-${userId}` },
      h("label", { class: "person-pick" }, box, picture, words),
      actions(userId, person.name, ["people.call", "people.callVideo"], (withVideo) => this.#call({ people: [person] }, withVideo)),
    );
  }
}

/** @param {string} id @param {string} name @param {[string, string]} keys @param {(withVideo: boolean) => void} onCall */
function actions(id, name, [audio, video], onCall) {
  const button = (/** @type {string} */ key, /** @type {string} */ testid, /** @type {string} */ picture, /** @type {boolean} */ withVideo) => {
    const element = h("button", { class: "icon-button", type: "button", testid: `${testid}-${id}`, on: { click: () => onCall(withVideo) } }, icon(picture));
    for (const place of ["aria-label", "title"]) localize(element, key, { name }, place);
    return element;
  };
  return h("div", { class: "person-actions" }, button(audio, "call", "phone", false), button(video, "call-video", "camera", true));
}
