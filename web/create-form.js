// The form for a new conference.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { labelled, select } from "./invite.js";

export class CreateForm {
  #name = h("input", { class: "field", name: "conference", required: true, maxlength: "128", autocomplete: "off", sayPlaceholder: "create.namePlaceholder", testid: "create-name" });
  #password = h("input", { class: "field", name: "conference-password", minlength: "4", maxlength: "64", autocomplete: "off", sayPlaceholder: "create.passwordPlaceholder", testid: "create-password" });
  #startAt = h("input", { class: "field", type: "datetime-local", name: "startAt", testid: "create-start" });
  #lobby = h("input", { type: "checkbox", name: "lobby", testid: "create-lobby" });
  #policy = select("mutePolicy", { free: "policy.free", joinMuted: "policy.joinMuted", locked: "policy.locked" }, "create-policy");
  #button = h("button", { class: "button primary big", type: "submit", testid: "create" }, icon("plus"), h("span", { localize: "create.submit" }));

  /** @param {(params: object) => Promise<boolean>} onCreate with params of `conference.create`; whether it was made */
  constructor(onCreate) {
    const submit = async (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#button.disabled = true;
      const isMade = await onCreate(this.#params());
      this.#button.disabled = false;
      if (isMade) this.element.reset();
    };
    const lobby = h("label", { class: "check" }, this.#lobby, h("span", {}, h("span", { localize: "create.lobby" }), h("small", { localize: "create.lobbyHint" })));
    const more = h(
      "details",
      { class: "more" },
      h("summary", { localize: "create.more" }),
      labelled("create.password", this.#password),
      labelled("create.startAt", this.#startAt),
      labelled("create.policy", this.#policy),
    );
    this.element = h("form", { class: "panel-card stack", on: { submit } }, h("h2", { localize: "create.title" }), labelled("create.name", this.#name), lobby, more, this.#button);
  }

  /** Only what was filled in: the server has its own defaults. */
  #params() {
    const password = this.#password.value.trim();
    const startAt = new Date(this.#startAt.value).getTime();
    return {
      name: this.#name.value.trim(),
      ...(password && { password }),
      ...(Number.isFinite(startAt) && { startAt }),
      ...(this.#lobby.checked && { lobby: true }),
      ...(this.#policy.value !== "free" && { mutePolicy: this.#policy.value }),
    };
  }
}
