// The stage: the main video, a row of small ones above it in order of joining, one's own in the corner.

import { KeyedList, h } from "./dom.js";
import { arrange } from "./layout.js";
import { ownerOf, sourceOf } from "./call/streams.js";
import { Tile } from "./tile.js";

/** @typedef {import("./tile.js").Place} Place */

export class Stage {
  /** The reader's own choice; nobody else sees it. @type {{picked: string|null, closed: Set<string>}} */
  choice = { picked: null, closed: new Set() };

  #strip = h("div", { class: "strip", testid: "strip", role: "group", sayLabel: "stage.strip" });
  #main = h("div", { class: "main-slot", testid: "main-video", role: "group", sayLabel: "stage.main" });
  #corner = h("div", { class: "corner-slot" });
  #hint = h("p", { class: "stage-hint", localize: "stage.alone" });
  /** @type {string|null} */
  #mainVideo = null;

  /**
   * @param {{media: import("./call/media.js").Media, onChoice: () => void}} owner `onChoice` is called after the reader
   *   changed the choice
   */
  constructor({ media, onChoice }) {
    this.media = media;
    this.onChoice = onChoice;
    const frame = h("div", { class: "main-frame" }, h("div", { class: "main-fit" }, this.#main, this.#corner));
    this.element = h("section", { class: "stage", sayLabel: "stage.label" }, h("div", { class: "strip-frame" }, this.#strip, this.#hint), frame);
    this.small = this.#list(this.#strip, (stream) => ({
      onPick: () => this.choose("pick", stream),
      onClose: () => this.choose("close", stream),
    }));
    this.main = this.#list(this.#main, () => ({ testid: "main-tile" }));
    this.corner = this.#list(this.#corner, () => ({ testid: "self-tile", you: "stage.you" }));
  }

  /** @param {HTMLElement} container @param {(stream: string) => object} handlers */
  #list(container, handlers) {
    return new KeyedList(container, {
      key: (/** @type {Place} */ { stream }) => stream,
      create: (place) => this.#tile(place, handlers(place.stream)),
      update: (tile, place) => tile.update(place),
    });
  }

  /** @param {Place} place @param {object} handlers */
  #tile({ stream, isSelf }, handlers) {
    const tile = new Tile(stream, handlers);
    if (!isSelf) this.media.views.watch(tile.element, stream);
    return tile;
  }

  /** @param {"pick"|"unpick"|"close"|"reopen"} what @param {string} stream */
  choose(what, stream) {
    const { closed } = this.choice;
    if (what === "close") closed.add(stream);
    else closed.delete(stream);
    if (what === "pick") this.choice.picked = stream;
    else if (what === "unpick" || this.choice.picked === stream) this.choice.picked = null;
    this.onChoice();
  }

  /** A screen of theirs that the reader closed. @param {string} userId */
  closedScreenOf(userId) {
    return [...this.choice.closed].find((stream) => sourceOf(stream) === "screen" && ownerOf(stream) === userId);
  }

  /**
   * @param {import("./roster.js").Roster} roster with oneself as the devices are
   * @param {string} selfId
   */
  update(roster, selfId) {
    if (roster.conference.mainVideo !== this.#mainVideo) {
      this.#mainVideo = roster.conference.mainVideo;
      this.choice.picked = null; // the chair shows something new to all
    }
    const { screens, lastSpeaker } = this.media;
    this.#forgetScreens(screens);
    const { main, strip, corner } = arrange(roster, selfId, this.choice, { screens, speaker: lastSpeaker });
    const byId = new Map(roster.members.map((member) => [member.userId, member]));
    const place = (/** @type {string} */ stream) => {
      const member = /** @type {import("./roster.js").Member} */ (byId.get(ownerOf(stream)));
      return { stream, member, isSelf: stream === selfId, isScreen: sourceOf(stream) === "screen", ...this.media.of(stream) };
    };
    this.small.update(strip.map(place));
    this.main.update(main ? [place(main)] : []);
    this.corner.update(corner ? [place(selfId)] : []);
    this.#hint.hidden = roster.members.length > 1;
  }

  /** A choice about a screen ends with it: the next one is another. @param {string[]} screens */
  #forgetScreens(screens) {
    const isOver = (/** @type {string|null} */ stream) => stream !== null && sourceOf(stream) === "screen" && !screens.includes(stream);
    if (isOver(this.choice.picked)) this.choice.picked = null;
    for (const stream of [...this.choice.closed].filter(isOver)) this.choice.closed.delete(stream);
  }
}
