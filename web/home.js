// Home: somebody with an account signs in, makes conferences, hands out their links and goes in.

import { ConferenceSession } from "./conference-session.js";
import { HomeScreen } from "./home-screen.js";
import { Phone } from "./phone.js";
import { CallingScreen, IncomingWindow, titleOf } from "./phone-screens.js";
import { SignInScreen } from "./sign-in.js";
import { onLanguage, startLanguage, t } from "./i18n.js";
import { Rpc, RpcError } from "./rpc.js";
import { Session } from "./session.js";
import { showScreen } from "./chrome.js";
import { Toasts } from "./toasts.js";

/** @typedef {import("./phone.js").PhoneCall} PhoneCall */

class HomePage {
  #session = new Session("");
  #rpc = new Rpc(this.#session);
  #toasts = new Toasts();
  /** While somebody is signed in. @type {Phone|null} */
  #phone = null;
  /** @type {HomeScreen|null} */
  #screen = null;
  /** The conference that one is in. @type {ConferenceSession|null} */
  #conferenceSession = null;
  /** @type {CallingScreen|null} */
  #calling = null;
  #incoming = new IncomingWindow({
    onAccept: (call, withVideo) => void this.#phone?.accept(call, withVideo),
    onDecline: (call) => void this.#phone?.decline(call),
  });

  async start() {
    startLanguage();
    document.body.append(this.#toasts.element);
    onLanguage(() => this.#title());
    this.#title();
    if (!(await this.#session.restore())) return this.#signIn();
    const confId = location.hash.slice(1);
    if (confId) return this.#openConference({ confId, confName: "" }, true);
    return this.#home();
  }

  #title() {
    if (document.body.dataset.screen !== "conference") document.title = t("brand");
  }

  #signIn() {
    const screen = new SignInScreen(async ({ userId, password }) => {
      await this.#session.login({ grantType: "password", userId, password });
      await this.#home();
    });
    showScreen("signIn", screen.element);
  }

  async #home() {
    history.replaceState(null, "", location.pathname);
    this.#title();
    this.#conferenceSession = null;
    const phone = this.#signedInPhone();
    phone.start();
    const screen = new HomeScreen({
      rpc: this.#rpc,
      toasts: this.#toasts,
      phone,
      onEnter: (conference) => this.#openConference(conference, false),
      onSignOut: () => this.#signOut(),
    });
    this.#screen = screen;
    showScreen("home", screen.element);
    try {
      await screen.refresh();
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      if (error.code === -32001 || error.code === -32002) return this.#signOut();
      this.#toasts.failure(error);
    }
  }

  /** One for each login. */
  #signedInPhone() {
    if (this.#phone) return this.#phone;
    const phone = new Phone(this.#rpc);
    phone.addEventListener("change", () => this.#drawCalls(phone));
    phone.addEventListener("enter", (event) => void this.#enterCall(/** @type {CustomEvent} */ (event).detail));
    phone.addEventListener("missed", (event) => void this.#toasts.show("phone.missedFrom", { name: /** @type {CustomEvent} */ (event).detail.name }));
    phone.addEventListener("trouble", (event) => this.#toasts.failure(/** @type {CustomEvent} */ (event).detail));
    phone.addEventListener("absent", (event) => {
      const { name, state, reason } = /** @type {CustomEvent<import("./callee-status.js").Callee>} */ (event).detail;
      void this.#toasts.show(reason ? "phone.declinedWhy" : `phone.${state}`, { name, why: reason });
    });
    this.#phone = phone;
    return phone;
  }

  /** @param {Phone} phone */
  #drawCalls(phone) {
    this.#incoming.update(phone.incoming[0]);
    const screen = this.#screen;
    if (this.#conferenceSession || !screen) return void this.#conferenceSession?.draw();
    screen.update();
    const { dialled } = phone;
    if (!dialled) {
      this.#calling = null;
      return showScreen("home", screen.element);
    }
    this.#calling ??= new CallingScreen({
      onCancel: () => void phone.cancel(),
      onBack: () => phone.dismiss(),
      onAgain: ({ whom, call }) => void phone.call(whom, call.withVideo),
    });
    this.#calling.update(dialled);
    showScreen(dialled.outcome ? "callOver" : "calling", this.#calling.element);
  }

  /** Another conference that one is in is left for it. @param {PhoneCall} call */
  async #enterCall(call) {
    await this.#conferenceSession?.live.leave();
    this.#openConference({ confId: call.confId, confName: titleOf(call) }, true, call);
  }

  #signOut() {
    this.#phone?.stop();
    this.#phone = null;
    this.#screen = null;
    this.#session.logout();
    this.#signIn();
  }

  /**
   * The conference's id stands in the address, so that a reload comes back into it.
   * @param {{confId: string, confName: string}} conference
   * @param {boolean} isReload whether the server has us there already: after a reload, or by a call that was answered
   * @param {PhoneCall} [call] that the conference is of
   */
  #openConference({ confId, confName }, isReload, call) {
    const phone = this.#signedInPhone();
    phone.rest();
    this.#calling = null;
    history.replaceState(null, "", `#${confId}`);
    const home = (/** @type {boolean} */ isCall) => ({ localize: isCall ? "phone.back" : "over.home", testid: "go-home", quiet: true, onSelect: () => void this.#home() });
    const rejoin = { localize: "over.rejoin", testid: "rejoin", onSelect: () => this.#openConference({ confId, confName }, false) };
    const comeBack = call && { localize: "phone.comeBack", testid: "call-come-back", onSelect: () => void phone.accept(call, call.withVideo) };
    const waysOn = (/** @type {string} */ reason, /** @type {boolean} */ isCall) => {
      if (isCall) return [...(comeBack && phone.ongoing.includes(call) ? [comeBack] : []), home(true)];
      return reason === "left" ? [rejoin, home(false)] : [home(false)];
    };
    const conferenceSession = new ConferenceSession({
      confId,
      confName,
      rpc: this.#rpc,
      toasts: this.#toasts,
      opens: call && { audio: true, video: call.withVideo },
      called: () => call?.called ?? [],
      waysOn,
      onOver: (reason) => {
        if (call) phone.left(call, reason === "left" ? conferenceSession.others : 0);
        history.replaceState(null, "", location.pathname);
        // Where it goes on elsewhere, it rings there too.
        if (reason !== "takenOver" && reason !== "signedOut") phone.start();
      },
    });
    this.#conferenceSession = conferenceSession;
    conferenceSession.live.addEventListener("leaving", () => history.replaceState(null, "", location.pathname));
    conferenceSession.live.addEventListener("call", (event) => {
      const { method, params } = /** @type {CustomEvent} */ (event).detail;
      phone.handleNotice(method, params);
    });
    conferenceSession.start(isReload);
  }
}

new HomePage().start();
