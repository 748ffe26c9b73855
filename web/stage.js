// The stage: the main video, a row of small ones above it in order of joining, one's own in the corner.

import { KeyedList, h } from "./dom.js";
import { arrange } from "./layout.js";
import { Tile } from "./tile.js";

export class Stage {
  /** The reader's own choice; nobody else sees it. @type {{picked: string|null, closed: Set<string>}} */
  choice = { picked: null, closed: new Set() };

  #strip = h("div", { class: "strip", testid: "strip", role: "group", sayLabel: "stage.strip" });
  #main = h("div", { class: "main-slot", testid: "main-video", role: "group", sayLabel: "stage.main" });
  #corner = h("div", { class: "corner-slot" });
  #hint = h("p", { class: "stage-hint", say: "stage.alone" });
  /** @type {MediaStream|null} */
  #preview = null;
  /** @type {string|null} */
  #mainVideo = null;

  /** @param {{onChoice: () => void}} owner called after the reader changed the choice */
  constructor({ onChoice }) {
    this.onChoice = onChoice;
    const frame = h("div", { class: "main-frame" }, h("div", { class: "main-fit" }, this.#main, this.#corner));
    this.element = h("section", { class: "stage", sayLabel: "stage.label" }, h("div", { class: "strip-frame" }, this.#strip, this.#hint), frame);
    this.small = this.#list(this.#strip, (userId) => ({
      onPick: () => this.choose("pick", userId),
      onClose: () => this.choose("close", userId),
    }));
    this.main = this.#list(this.#main, () => ({ testid: "main-tile" }));
    this.corner = this.#list(this.#corner, () => ({ testid: "self-tile" }));
  }

  /** @param {HTMLElement} container @param {(userId: string) => object} handlers */
  #list(container, handlers) {
    return new KeyedList(container, {
      key: (/** @type {{member: import("./roster.js").Member, isSelf: boolean}} */ { member }) => member.userId,
      create: ({ member }) => new Tile(member.userId, handlers(member.userId)),
      update: (tile, { member, isSelf }) => {
        tile.update(member, isSelf);
        tile.show(isSelf ? this.#preview : null);
      },
    });
  }

  /** @param {"pick"|"unpick"|"close"|"reopen"} what @param {string} userId */
  choose(what, userId) {
    const { closed } = this.choice;
    if (what === "close") closed.add(userId);
    else closed.delete(userId);
    if (what === "pick") this.choice.picked = userId;
    else if (what === "unpick" || this.choice.picked === userId) this.choice.picked = null;
    this.onChoice();
  }

  /**
   * @param {import("./roster.js").Roster} roster
   * @param {string} selfId
   * @param {MediaStream|null} preview one's own picture
   */
  update(roster, selfId, preview) {
    this.#preview = preview;
    if (roster.conference.mainVideo !== this.#mainVideo) {
      this.#mainVideo = roster.conference.mainVideo;
      this.choice.picked = null; // the chair shows something new to all
    }
    const { main, strip, corner } = arrange(roster, selfId, this.choice);
    const byId = new Map(roster.members.map((member) => [member.userId, member]));
    const items = (/** @type {(string|null)[]} */ ids) =>
      ids
        .map((id) => byId.get(id ?? ""))
        .filter((member) => member !== undefined)
        .map((member) => ({ member, isSelf: member.userId === selfId }));
    this.small.update(items(strip));
    this.main.update(items([main]));
    this.corner.update(items(corner ? [selfId] : []));
    this.#hint.hidden = roster.members.length > 1;
  }
}
