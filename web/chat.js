// The chat.

import { KeyedList, h, text } from "./dom.js";
import { avatar, drawAvatar } from "./avatar.js";
import { continued, merged } from "./chat-log.js";
import { icon } from "./icons.js";
import { currentLanguage, t } from "./i18n.js";

/** @typedef {import("./roster.js").Message} Message */

/** The server's limit for one message, in characters. */
const MAX_LENGTH = 4000;
/** How many older messages are fetched at once. */
const OLDER = 50;
/** Most messages that are kept and drawn: the newest. */
const LOG_MESSAGES = 2000;
/** Closer to the end than this, in px, and the list follows new messages. */
const NEAR_END = 48;

class ChatLine {
  #avatar = avatar();
  #name = h("bdi", { class: "line-name" });
  #time = h("time", {});
  #text = h("p", { class: "line-text", dir: "auto" });

  /** @param {string} messageId */
  constructor(messageId) {
    const head = h("header", { class: "line-head" }, this.#name, this.#time);
    this.element = h("li", { class: "line", testid: `message-${messageId}` }, this.#avatar, h("div", {}, head, this.#text));
  }

  /** @param {Message} message @param {string} name @param {boolean} isSelf */
  update(message, name, isSelf) {
    drawAvatar(this.#avatar, { userId: message.userId, name });
    text(this.#name, isSelf ? t("member.you", { name }) : name);
    const time = new Date(message.time);
    text(this.#time, time.toLocaleTimeString(currentLanguage() === "zh" ? "zh-CN" : "en-GB", { hour: "2-digit", minute: "2-digit" }));
    this.#time.dateTime = time.toISOString();
    text(this.#text, message.text);
    this.element.classList.toggle("own", isSelf);
  }
}

export class ChatPanel {
  #list = h("ol", { class: "lines", testid: "messages", "aria-live": "polite", sayLabel: "chat.heading" });
  #scroll = h("div", { class: "lines-scroll", tabindex: "0" });
  #empty = h("p", { class: "empty", localize: "chat.empty" });
  #older = h("button", { class: "button small quiet older", type: "button", localize: "chat.older", testid: "chat-older", hidden: true });
  #input = h("textarea", { class: "chat-input", rows: "1", maxlength: String(MAX_LENGTH), sayPlaceholder: "chat.placeholder", sayLabel: "chat.placeholder", testid: "chat-input" });
  #send = h("button", { class: "icon-button primary", type: "submit", sayLabel: "chat.send", sayTitle: "chat.send", testid: "chat-send" }, icon("send"));
  /** Names of people who may have left since. @type {Map<string, string>} */
  #names = new Map();
  /** Messages that were seen and fetched, oldest first: longer than the roster's list. @type {Message[]} */
  #log = [];
  #mayHaveOlder = true;
  #isSending = false;
  /** @type {import("./roster.js").Roster|null} */
  #roster = null;
  #selfId = "";

  /**
   * @param {{send: (text: string) => Promise<unknown>, older: (before: string, limit: number) => Promise<Message[]|undefined>}} owner
   * `send` gives undefined when it failed
   */
  constructor(owner) {
    this.owner = owner;
    const form = h("form", { class: "chat-form", on: { submit: (/** @type {Event} */ event) => this.#submit(event) } }, this.#input, this.#send);
    this.#input.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event));
    this.#input.addEventListener("input", () => this.#fit());
    // The words keep the focus: on a phone the keyboard stays, and nothing moves away under the finger.
    this.#send.addEventListener("mousedown", (/** @type {Event} */ event) => event.preventDefault());
    this.#older.addEventListener("click", () => this.#fetchOlder());
    this.#scroll.append(this.#older, this.#empty, this.#list);
    const head = h("header", { class: "panel-head" }, h("h2", { localize: "chat.heading" }));
    this.element = h("div", { class: "panel chat", id: "panel-chat" }, head, this.#scroll, form);
    this.lines = new KeyedList(this.#list, {
      key: (/** @type {Message} */ { messageId }) => messageId,
      create: ({ messageId }) => new ChatLine(messageId),
      update: (line, message) => line.update(message, this.#names.get(message.userId) ?? t("chat.someone"), message.userId === this.#selfId),
    });
  }

  /** @param {import("./roster.js").Roster} roster @param {string} selfId */
  update(roster, selfId) {
    this.#roster = roster;
    this.#selfId = selfId;
    for (const { userId, name } of roster.members) this.#names.set(userId, name);
    const atEnd = this.#scroll.scrollHeight - this.#scroll.scrollTop - this.#scroll.clientHeight < NEAR_END;
    const log = continued(this.#log, roster.messages);
    if (log === roster.messages) this.#mayHaveOlder = true; // it begins anew
    this.#log = log.slice(-LOG_MESSAGES);
    this.lines.update(this.#log);
    this.#empty.hidden = this.#log.length > 0;
    this.#older.hidden = !this.#mayHaveOlder || roster.messages.length < OLDER;
    if (atEnd) this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }

  async #fetchOlder() {
    if (!this.#roster) return;
    const [first] = this.#log;
    const messages = await this.owner.older(first.messageId, OLDER);
    if (!messages || this.#log[0] !== first) return; // it has begun anew meanwhile
    this.#mayHaveOlder = messages.length === OLDER && this.#log.length < LOG_MESSAGES - OLDER;
    this.#log = merged(messages, this.#log);
    const fromEnd = this.#scroll.scrollHeight - this.#scroll.scrollTop;
    this.update(this.#roster, this.#selfId);
    this.#scroll.scrollTop = this.#scroll.scrollHeight - fromEnd;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    // Enter also ends the choice of an input method (pinyin); that one is not ours.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    this.#submit(event);
  }

  /** @param {Event} event */
  async #submit(event) {
    event.preventDefault();
    const words = this.#input.value.trim();
    if (!words || this.#isSending) return;
    this.#isSending = true;
    const sent = await this.owner.send(words);
    this.#isSending = false;
    if (sent === undefined) return; // the words stay, to be sent again
    if (this.#input.value.trim() === words) this.#input.value = "";
    this.#fit();
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }

  /** As high as the words, up to the style sheet's limit. */
  #fit() {
    this.#input.style.height = "auto";
    this.#input.style.height = `${this.#input.scrollHeight + 2}px`;
  }
}
