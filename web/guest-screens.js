// The guest's screens before and after the conference. Each says where things stand, and what can be done.

import { h } from "./dom.js";
import { icon, redraw } from "./icons.js";
import { localize, t } from "./i18n.js";
import { cardPage } from "./chrome.js";
import { canBeSeen } from "./names.js";

/** Longest name a guest may give. */
export const NAME_LENGTH = 64;

/** A device that is to be open from the start, or not: nobody but the reader says so. */
class DeviceSwitch {
  #icon = icon("mic");
  #words = h("span", {});

  /** @param {"microphone"|"camera"} device @param {boolean} isOn */
  constructor(device, isOn) {
    this.device = device;
    this.input = h("input", { type: "checkbox", class: "unseen", testid: `door-${device}`, sayLabel: `devices.${device}` });
    this.input.checked = isOn;
    this.input.addEventListener("change", () => this.#draw());
    this.element = h("label", { class: "device-switch" }, this.input, this.#icon, this.#words);
    this.#draw();
  }

  get isOn() {
    return this.input.checked;
  }

  #draw() {
    const [on, off, name] = this.device === "camera" ? ["camera", "cameraOff", "video"] : ["mic", "micOff", "microphone"];
    redraw(this.#icon, this.isOn ? on : off);
    localize(this.#words, `door.${name}.${this.isOn ? "on" : "off"}`);
  }
}

/**
 * The screen before the conference: its name, its state, the reader's name, and what of theirs is open from the start.
 */
export class JoinScreen {
  #title = h("h1", { class: "card-title", testid: "conf-name" });
  #state = h("p", { class: "card-state", role: "status", testid: "state-text" });
  #pulse = h("span", { class: "pulse", "aria-hidden": "true" });
  #error = h("p", { class: "form-error", role: "alert", testid: "error-text" });
  #button = h("button", { class: "button primary big", type: "submit", testid: "enter", localize: "door.enter" });
  /** When the name was last typed at, ms of `performance.now()`. */
  typedAt = -Infinity;

  /** @param {{name: string, opens: {audio: boolean, video: boolean}, onEnter: (name: string) => void}} options `opens`: of last time */
  constructor({ name, opens, onEnter }) {
    this.microphone = new DeviceSwitch("microphone", opens.audio);
    this.camera = new DeviceSwitch("camera", opens.video);
    this.input = h("input", {
      class: "field",
      id: "name",
      name: "name",
      autocomplete: "nickname",
      maxlength: String(NAME_LENGTH),
      required: true,
      testid: "name-input",
      sayPlaceholder: "door.namePlaceholder",
    });
    this.input.value = name;
    this.input.addEventListener("input", () => (this.typedAt = performance.now()));
    const submit = (/** @type {Event} */ event) => {
      event.preventDefault();
      if (canBeSeen(this.name)) return onEnter(this.name);
      this.#error.textContent = t("door.unseenName");
    };
    const label = h("label", { class: "label", for: "name", localize: "door.name" });
    const devices = h("div", { class: "device-switches" }, this.microphone.element, this.camera.element);
    const hint = h("p", { class: "door-hint", localize: "door.devicesHint" });
    const form = h("form", { class: "stack", on: { submit } }, label, this.input, devices, hint, this.#error, this.#button);
    this.element = cardPage(this.#title, h("div", { class: "state-line" }, this.#pulse, this.#state), form);
  }

  get name() {
    return this.input.value.trim();
  }

  /** The devices that the reader wants open from the start. */
  get opens() {
    return { audio: this.microphone.isOn, video: this.camera.isOn };
  }

  /**
   * @param {{confName: string, stateKey: string, isWaiting: boolean, isBusy?: boolean, error?: string}} what
   */
  update({ confName, stateKey, isWaiting, isBusy = false, error = "" }) {
    this.#title.textContent = confName;
    localize(this.#state, stateKey);
    this.#pulse.hidden = !isWaiting;
    this.#error.textContent = error;
    this.#button.hidden = isWaiting;
    this.#button.disabled = isBusy;
    localize(this.#button, isBusy ? "door.entering" : "door.enter");
  }
}

/**
 * A screen with one statement and at most one thing to do.
 * @param {{title: string, key?: string, text?: string, params?: Record<string, string|number>, picture?: string, isWaiting?: boolean,
 *   actions?: {localize: string, testid: string, quiet?: boolean, onSelect: () => void}[]}} what `title` and `text` are text,
 *   `key` is in the catalogue; a `text` changes by itself, so it is not read out again each time
 */
export function statement({ title, key, text, params = {}, picture = "", isWaiting = false, actions = [] }) {
  const state = h("p", { class: "card-state", role: text ? "timer" : "status", testid: "state-text" }, text);
  if (key) localize(state, key, params);
  const buttons = actions.map(({ localize, testid, quiet, onSelect }) =>
    h("button", { class: `button big ${quiet ? "quiet" : "primary"}`, type: "button", localize, testid, on: { click: onSelect } }),
  );
  return cardPage(
    picture && h("div", { class: `card-picture ${picture}`, "aria-hidden": "true" }, icon(picture)),
    title && h("h1", { class: "card-title", testid: "conf-name" }, title),
    h("div", { class: "state-line" }, isWaiting && h("span", { class: "pulse", "aria-hidden": "true" }), state),
    ...(buttons.length ? [h("div", { class: "stack" }, ...buttons)] : []),
  );
}
