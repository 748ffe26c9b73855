// From entering a conference to its end, screen by screen; the guest page and the home page share it.

import { Choice } from "./choice.js";
import { ConferenceView } from "./conference-view.js";
import { LiveConference } from "./live.js";
import { errorText, isKnown, onLanguage } from "./i18n.js";
import { showScreen } from "./chrome.js";
import { statement } from "./guest-screens.js";

/** Pictures of the reasons for an end. @type {Record<string, string>} */
const PICTURES = { left: "leave", ended: "clock", takenOver: "screen", notStarted: "clock", signedOut: "lock", refused: "warn", unknown: "warn" };

/** Not an animation frame: a hidden page has none, and should be up to date when it is looked at. */
const FRAME_MS = 16;

/**
 * @typedef {object} AttendanceOptions
 * @property {string} confId
 * @property {string} confName
 * @property {import("./rpc.js").Rpc} rpc
 * @property {import("./toasts.js").Toasts} toasts
 * @property {{audio: boolean, video: boolean}} [opens] what of one's own the reader has chosen to open; else as it was
 *   last in this conference, or off
 * @property {() => import("./callee-status.js").Callee[]} [called] whom one's own call rings, that the conference is of
 * @property {(reason: string, isCall: boolean) => {localize: string, testid: string, quiet?: boolean, onSelect: () => void}[]} waysOn what
 *   the page offers when it is over
 * @property {(reason: string) => void} [onOver]
 */

export class ConferenceSession {
  /** @type {ConferenceView|null} */
  #view = null;
  #shown = "";
  #pending = 0;

  /** @param {AttendanceOptions} options */
  constructor(options) {
    this.options = options;
    this.live = new LiveConference(options.confId, options.rpc);
    this.choice = new Choice(options.confId, options.rpc.session.userId ?? "");
    this.live.addEventListener("change", () => this.#drawSoon());
    onLanguage(() => this.draw());
  }

  /** How many were in it beside oneself, as far as was told. */
  get others() {
    const { roster, session } = this.live;
    return roster?.members.filter(({ userId }) => userId !== session.userId).length ?? 0;
  }

  /** @param {boolean} isReload whether the login is from before a reload */
  start(isReload) {
    const { opens } = this.options;
    if (opens) this.choice.begin(opens);
    else this.choice.recall();
    this.draw();
    if (isReload) this.live.comeBack();
    else this.options.toasts.attempt(() => this.live.enter());
  }

  /** Events come in bursts (everybody is muted at once); they are drawn together. */
  #drawSoon() {
    if (this.live.phase !== "in" || !this.#view) return this.draw();
    this.#pending ||= setTimeout(() => this.draw(), FRAME_MS);
  }

  draw() {
    clearTimeout(this.#pending);
    this.#pending = 0;
    const { phase, reason } = this.live;
    if (phase === "in") return this.#drawConference();
    // After a short cut the last picture is better than none.
    if (phase === "connecting" && this.#view && this.live.self) return this.#view.update();
    this.#view?.stop();
    this.#view = null;
    const screen = phase === "over" ? `over:${reason}` : `${phase}:${this.live.error?.key ?? ""}`;
    if (screen === this.#shown) return;
    this.#shown = screen;
    if (phase === "over") this.#drawEnd(reason ?? "left");
    else this.#drawJoinScreen(phase);
  }

  #drawConference() {
    this.#shown = "in";
    if (!this.#view) {
      this.#view = new ConferenceView(this.live, this.choice, this.options.toasts, this.options);
      showScreen("conference", this.#view.element);
    }
    this.#view.update();
  }

  /** @param {"connecting"|"waiting"} phase */
  #drawJoinScreen(phase) {
    const title = this.live.roster?.conference.confName ?? this.options.confName;
    const leave = { localize: "control.leave", testid: "leave", quiet: true, onSelect: () => void this.live.leave() };
    const { error } = this.live;
    const key = phase === "waiting" ? "lobby.waiting" : error ? "door.retrying" : "door.connecting";
    const params = { why: error ? errorText(error) : "" };
    showScreen(phase, statement({ title, key, params, picture: phase === "waiting" ? "lobby" : "", isWaiting: true, actions: [leave] }));
  }

  /** @param {string} reason */
  #drawEnd(reason) {
    const { error } = this.live;
    if (reason !== "takenOver") this.choice.forget();
    this.options.onOver?.(reason);
    const isCall = Boolean(this.live.roster?.conference.call);
    const callKey = isCall ? `callOver.${reason}` : "";
    const title = (isCall ? "" : this.live.roster?.conference.confName) || this.options.confName;
    const takeBack = { localize: "over.here", testid: "take-back", onSelect: () => this.#takeBack() };
    const actions = [...(reason === "takenOver" ? [takeBack] : []), ...this.options.waysOn(reason, isCall)];
    const params = { why: error ? errorText(error) : "" };
    showScreen(reason, statement({ title, key: isKnown(callKey) ? callKey : `over.${reason}`, params, picture: PICTURES[reason] ?? "remove", actions }));
  }

  /** The other window's last choice is this one's. */
  #takeBack() {
    this.choice.recall();
    this.live.takeBack();
  }
}
