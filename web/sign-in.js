// Signing in with an account of the EIM.

import { h } from "./dom.js";
import { cardPage } from "./chrome.js";
import { errorText } from "./i18n.js";
import { RpcError } from "./rpc.js";
import { labelled } from "./invite.js";

export class SignInScreen {
  #user = h("input", { class: "field", name: "username", autocomplete: "username", autocapitalize: "none", spellcheck: "false", required: true, maxlength: "64", testid: "user-id" });
  #password = h("input", { class: "field", type: "password", name: "password", autocomplete: "current-password", required: true, testid: "password" });
  #error = h("p", { class: "form-error", role: "alert", testid: "error-text" });
  #button = h("button", { class: "button primary big", type: "submit", localize: "signIn.submit", testid: "sign-in" });

  /** @param {(credentials: {userId: string, password: string}) => Promise<void>} onSignIn */
  constructor(onSignIn) {
    const submit = async (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#button.disabled = true;
      this.#error.textContent = "";
      try {
        await onSignIn({ userId: this.#user.value.trim().toLowerCase(), password: this.#password.value });
      } catch (error) {
        if (!(error instanceof RpcError)) throw error;
        this.#error.textContent = errorText(error);
      } finally {
        this.#button.disabled = false;
      }
    };
    const fields = [labelled("signIn.userId", this.#user), labelled("signIn.password", this.#password)];
    const form = h("form", { class: "stack", on: { submit } }, ...fields, this.#error, this.#button);
    const lead = h("p", { class: "card-state", localize: "signIn.lead", testid: "state-text" });
    this.element = cardPage(h("h1", { class: "card-title", localize: "signIn.title" }), lead, form);
  }
}
