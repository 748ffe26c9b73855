// The guest page: behind a link, without app or account.

import { ConferenceSession } from "./conference-session.js";
import { joinScreenChoice, keepJoinScreenChoice } from "./choice.js";
import { JoinScreen, statement } from "./guest-screens.js";
import { askLink, STATE } from "./link.js";
import { errorText, onLanguage, startLanguage, t } from "./i18n.js";
import { jittered } from "./backoff.js";
import { Rpc, RpcError } from "./rpc.js";
import { Session } from "./session.js";
import { showScreen } from "./chrome.js";
import { Toasts } from "./toasts.js";

const STORED_NAME = "confgate.name";
/** How often a conference that has not started is asked about; rarer while nobody looks. */
const POLL_MS = 5_000;
const POLL_HIDDEN_MS = 20_000;
/** A name that was typed at within this is not finished. */
const TYPING_MS = 1_500;

class GuestPage {
  #session = new Session(location.pathname);
  #rpc = new Rpc(this.#session);
  #toasts = new Toasts();
  /** @type {{confId: string, confName: string, state: number}|null} */
  #conference = null;
  /** @type {JoinScreen|null} */
  #joinScreen = null;
  #error = /** @type {RpcError|null} */ (null);
  #isBusy = false;
  #isAwaitingStart = false;
  #poll = 0;

  start() {
    startLanguage();
    document.body.append(this.#toasts.element);
    onLanguage(() => this.#joinScreen && this.#drawJoinScreen());
    return this.#ask();
  }

  /** Looks the link up and shows the screen that follows from it. */
  async #ask() {
    try {
      this.#conference = await askLink(location.pathname);
    } catch (error) {
      return this.#askLater(error);
    }
    const { state, confName } = this.#conference;
    document.title = confName ? t("title.in", { name: confName }) : t("brand");
    if (state === STATE.open) return this.#open();
    if (state === STATE.notStarted) return this.#notYet();
    this.#session.forget();
    this.#leaveDoor(state === STATE.ended ? "ended" : "unknown");
  }

  async #open() {
    if (!this.#joinScreen && (await this.#session.restore())) return this.#openConference(true);
    this.#drawJoinScreen();
    this.#enterAutomatically();
  }

  /** After waiting for the start, as soon as the name is there and no longer typed at. */
  #enterAutomatically() {
    const door = this.#joinScreen;
    if (!door || !this.#isAwaitingStart) return;
    if (performance.now() - door.typedAt < TYPING_MS) return void setTimeout(() => this.#enterAutomatically(), TYPING_MS);
    this.#isAwaitingStart = false; // once: whatever comes of it, the button is there now
    if (door.name && !this.#isBusy) this.#enter(door.name);
  }

  #notYet() {
    this.#isAwaitingStart = true;
    this.#drawJoinScreen();
    clearTimeout(this.#poll);
    this.#poll = setTimeout(() => this.#ask(), jittered(document.hidden ? POLL_HIDDEN_MS : POLL_MS));
  }

  /** The link can't be asked right now: says for how long, counting down, and tries again. @param {unknown} error */
  #askLater(error) {
    if (!(error instanceof RpcError)) throw error;
    const until = performance.now() + (error.data.retryAfterMs ?? jittered(POLL_MS));
    const draw = () => {
      const ms = Math.max(0, until - performance.now());
      const why = errorText({ key: error.key, message: error.message, data: { retryAfterMs: ms } });
      if (!this.#joinScreen) this.#drawBusy(why);
      if (ms > 0) return;
      clearInterval(ticker);
      this.#ask();
    };
    const ticker = setInterval(draw, 1000);
    draw();
  }

  /** @param {string} why */
  #drawBusy(why) {
    const former = document.querySelector('[data-screen="busy"] [data-testid="state-text"]');
    if (former) former.textContent = why;
    else showScreen("busy", statement({ title: "", text: why, picture: "clock", isWaiting: true }));
  }

  #drawJoinScreen() {
    if (!this.#conference) return;
    this.#joinScreen ??= new JoinScreen({ name: storedName(), opens: joinScreenChoice(), onEnter: (name) => void this.#enter(name) });
    const isWaiting = this.#conference.state === STATE.notStarted;
    const stateKey = isWaiting ? "door.notStarted" : "door.open";
    const error = this.#error ? errorText(this.#error) : "";
    this.#joinScreen.update({ confName: this.#conference.confName, stateKey, isWaiting, isBusy: this.#isBusy, error });
    showScreen(isWaiting ? "notStarted" : "door", this.#joinScreen.element);
    if (!this.#joinScreen.input.value) this.#joinScreen.input.focus();
  }

  /** @param {string} reason of an end that was there before we were in */
  #leaveDoor(reason) {
    this.#joinScreen = null;
    const title = this.#conference?.confName ?? "";
    const picture = reason === "ended" ? "clock" : "warn";
    showScreen(reason, statement({ title, key: `over.${reason}`, picture }));
  }

  /** @param {string} name */
  async #enter(name) {
    const opens = this.#joinScreen?.opens;
    storeName(name);
    if (opens) keepJoinScreenChoice(opens);
    if (this.#isBusy || this.#conference?.state !== STATE.open) return;
    this.#isBusy = true;
    this.#error = null;
    this.#drawJoinScreen();
    try {
      await this.#session.login({ grantType: "conference_link", link: location.origin + location.pathname, name });
      this.#openConference(false, opens);
    } catch (error) {
      await this.#loginFailed(error);
    } finally {
      this.#isBusy = false;
      if (this.#joinScreen) this.#drawJoinScreen();
    }
  }

  /** @param {unknown} error */
  async #loginFailed(error) {
    if (!(error instanceof RpcError)) throw error;
    // Not open after all: it has ended since we asked, or not begun again.
    if (error.code === -32006) await this.#ask();
    this.#error = error;
  }

  /** @param {boolean} isReload @param {{audio: boolean, video: boolean}} [opens] as was chosen at the door */
  #openConference(isReload, opens) {
    if (!this.#conference) return;
    this.#joinScreen = null;
    this.#session.unpark();
    const { confId, confName } = this.#conference;
    const conferenceSession = new ConferenceSession({
      confId,
      confName,
      rpc: this.#rpc,
      toasts: this.#toasts,
      opens,
      waysOn: (reason) => this.#waysOn(reason),
      onOver: (reason) => this.#over(reason),
    });
    conferenceSession.live.addEventListener("leaving", () => this.#session.park());
    conferenceSession.start(isReload);
  }

  /** @param {string} reason */
  #over(reason) {
    // A seat that was left or taken over can be had again with the same login, and so without another use of the link.
    if (reason === "left" || reason === "takenOver") this.#session.park();
    else this.#session.forget();
    if (reason === "notStarted") this.#ask();
  }

  /** @param {string} reason */
  #waysOn(reason) {
    const rejoin = { localize: "over.rejoin", testid: "rejoin", onSelect: () => this.#openConference(false) };
    const again = { localize: "over.again", testid: "again", onSelect: () => void this.#ask() };
    if (reason === "left") return [rejoin];
    return ["signedOut", "refused", "denied"].includes(reason) ? [again] : [];
  }
}

function storedName() {
  try {
    return localStorage.getItem(STORED_NAME) ?? "";
  } catch {
    return "";
  }
}

/** @param {string} name */
function storeName(name) {
  try {
    localStorage.setItem(STORED_NAME, name);
  } catch {
    // storage is shut off: the name is asked again next time
  }
}

new GuestPage().start();
