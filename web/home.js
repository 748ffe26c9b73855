// Home: somebody with an account signs in, makes conferences, hands out their links and goes in.

import { Attendance } from "./attendance.js";
import { HomeScreen } from "./home-screen.js";
import { SignInScreen } from "./sign-in.js";
import { onLanguage, startLanguage, t } from "./i18n.js";
import { Rpc, RpcError } from "./rpc.js";
import { Session } from "./session.js";
import { showScreen } from "./chrome.js";
import { Toasts } from "./toasts.js";

class HomePage {
  #session = new Session("");
  #rpc = new Rpc(this.#session);
  #toasts = new Toasts();

  async start() {
    startLanguage();
    document.body.append(this.#toasts.element);
    onLanguage(() => this.#title());
    this.#title();
    if (!(await this.#session.restore())) return this.#signIn();
    const confId = location.hash.slice(1);
    if (confId) return this.#attend({ confId, confName: "" }, true);
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
    const screen = new HomeScreen({
      rpc: this.#rpc,
      toasts: this.#toasts,
      onEnter: (conference) => this.#attend(conference, false),
      onSignOut: () => this.#signOut(),
    });
    showScreen("home", screen.element);
    try {
      await screen.refresh();
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      if (error.code === -32001 || error.code === -32002) return this.#signOut();
      this.#toasts.failure(error);
    }
  }

  #signOut() {
    this.#session.logout();
    this.#signIn();
  }

  /**
   * The conference's id stands in the address, so that a reload comes back into it.
   * @param {{confId: string, confName: string}} conference
   * @param {boolean} isReload
   */
  #attend({ confId, confName }, isReload) {
    history.replaceState(null, "", `#${confId}`);
    const home = { say: "over.home", testid: "go-home", quiet: true, onSelect: () => void this.#home() };
    const rejoin = { say: "over.rejoin", testid: "rejoin", onSelect: () => this.#attend({ confId, confName }, false) };
    const attendance = new Attendance({
      confId,
      confName,
      rpc: this.#rpc,
      toasts: this.#toasts,
      waysOn: (reason) => (reason === "left" ? [rejoin, home] : [home]),
      onOver: () => history.replaceState(null, "", location.pathname),
    });
    attendance.start(isReload);
  }
}

new HomePage().start();
