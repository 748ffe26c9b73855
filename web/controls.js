// The bar below the stage: one's own microphone, camera and hand, the chair's menu, leaving.

import { attribute, h } from "./dom.js";
import { icon, redraw } from "./icons.js";
import { localize } from "./i18n.js";
import { audioIcon } from "./avatar.js";

class ControlButton {
  #icon;
  #label = h("span", { class: "control-label" });
  #isBusy = false;

  /** @param {string} testid @param {string} name @param {() => Promise<unknown>|void} onPress */
  constructor(testid, name, onPress) {
    this.#icon = icon(name);
    this.element = h("button", { class: "control", type: "button", testid }, h("span", { class: "control-disc" }, this.#icon), this.#label);
    this.element.addEventListener("click", () => this.#press(onPress));
  }

  /** One press at a time: what is shown is the server's word, and it is awaited. @param {() => Promise<unknown>|void} onPress */
  async #press(onPress) {
    if (this.#isBusy) return;
    this.#isBusy = true;
    this.element.setAttribute("aria-busy", "true");
    await onPress();
    this.#isBusy = false;
    this.element.removeAttribute("aria-busy");
  }

  /** @param {{name: string, key: string, isOn?: boolean, look?: string}} state `isOn` makes it a toggle */
  update({ name, key, isOn, look = "" }) {
    redraw(this.#icon, name);
    localize(this.#label, key);
    attribute(this.element, "aria-pressed", isOn === undefined ? null : String(isOn));
    this.element.dataset.look = look;
  }
}

export class ControlBar {
  /**
   * @param {{onMicrophone: () => Promise<unknown>, onCamera: () => Promise<unknown>, onHand: () => Promise<unknown>,
   *   onScreen: (() => Promise<unknown>)|null, onManage: (anchor: HTMLElement) => void, onLeave: () => Promise<unknown>}} owner
   */
  constructor({ onMicrophone, onCamera, onScreen, onHand, onManage, onLeave }) {
    this.mute = new ControlButton("mute", "mic", onMicrophone);
    this.camera = new ControlButton("camera", "camera", onCamera);
    // Telephones can't: nothing to press then.
    this.screen = onScreen && new ControlButton("share", "screen", onScreen);
    this.hand = new ControlButton("hand", "hand", onHand);
    /** @type {ControlButton} */
    this.manage = new ControlButton("manage", "shield", () => onManage(this.manage.element));
    this.leave = new ControlButton("leave", "leave", onLeave);
    attribute(this.manage.element, "aria-haspopup", "menu");
    this.manage.update({ name: "shield", key: "control.manage" });
    const buttons = [this.mute, this.camera, this.screen, this.hand, this.manage, this.leave].map((button) => button?.element);
    const toolbar = h("div", { class: "controls", role: "toolbar", sayLabel: "control.label" }, ...buttons.filter(Boolean));
    this.element = h("footer", { class: "bar" }, toolbar);
  }

  /** @param {import("./roster.js").Member} self as the devices are @param {boolean} isSharing @param {{mode: string}} [call] that the conference is of */
  update({ audio, video, hand, role }, isSharing, call) {
    const microphone = { on: "control.mute", off: "control.unmute", forcedOff: "control.held" }[audio];
    this.mute.update({ name: audioIcon(audio), key: microphone, isOn: audio === "on", look: audio });
    const isFilming = video === "on";
    this.camera.update({ name: isFilming ? "camera" : "cameraOff", key: isFilming ? "control.cameraOff" : "control.cameraOn", isOn: isFilming, look: video });
    this.screen?.update({ name: "screen", key: isSharing ? "control.unshare" : "control.share", isOn: isSharing, look: isSharing ? "on" : "off" });
    this.hand.update({ name: "hand", key: hand ? "control.lowerHand" : "control.raiseHand", isOn: hand, look: hand ? "raised" : "" });
    // A call has nothing to manage, and is hung up; of two, nobody need ask to speak.
    const isCall = Boolean(call);
    this.manage.element.hidden = role !== "chair" || isCall;
    this.hand.element.hidden = call?.mode === "p2p";
    this.leave.update({ name: isCall ? "phoneDown" : "leave", key: isCall ? "phone.hangup" : "control.leave", look: "leave" });
  }
}
