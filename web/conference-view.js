// The view of a conference that one is in: the same for guests, members and the chair, who has more to press.

import { h } from "./dom.js";
import { isKnown, localize, t } from "./i18n.js";
import { icon } from "./icons.js";
import { ChatPanel } from "./chat.js";
import { ConferenceHeader } from "./header.js";
import { ControlBar } from "./controls.js";
import { Media } from "./call/media.js";
import { MembersPanel } from "./members.js";
import { SidePanels } from "./panels.js";
import { Stage } from "./stage.js";
import { UnmuteAsk } from "./unmute-ask.js";
import { confirmed } from "./dialog.js";
import { conferenceActions, memberActions } from "./actions.js";
import { pendingCallees } from "./callee-status.js";
import { openDevices } from "./device-window.js";
import { openInvite } from "./invite.js";
import { openMenu } from "./menu.js";
import { wordsFor } from "./notices.js";

export class ConferenceView {
  /** Passing words about people who knock, by user. @type {Map<string, () => void>} */
  #knocks = new Map();
  #isStopped = false;
  #isAskingHand = false;
  /** @type {() => import("./callee-status.js").Callee[]} */
  #called;

  /**
   * @param {import("./live.js").LiveConference} live
   * @param {import("./choice.js").Choice} choice
   * @param {import("./toasts.js").Toasts} toasts
   * @param {{called?: () => import("./callee-status.js").Callee[]}} [options] whom one's own call rings
   */
  constructor(live, choice, toasts, { called = () => [] } = {}) {
    this.#called = called;
    this.live = live;
    this.choice = choice;
    this.toasts = toasts;
    this.media = new Media({
      live,
      choice,
      onTrouble: (key) => void toasts.show(key),
      onBlocked: () => this.#askForSound(),
      onChange: () => this.update(),
    });
    this.header = new ConferenceHeader({ onInvite: () => this.#invite(), onDevices: () => openDevices(this.media, toasts) });
    this.stage = new Stage({ media: this.media, onChoice: () => this.update() });
    this.members = this.#membersPanel();
    this.chat = new ChatPanel({
      send: (words) => this.#try(() => live.rpc.call("conference.sendMessage", { confId: live.confId, text: words })),
      older: (before, limit) => this.#older(before, limit),
    });
    this.side = new SidePanels(this.members.element, this.chat.element);
    this.controls = this.#controlBar();
    this.ask = new UnmuteAsk({
      onAccept: () => void this.#try(() => this.media.consent.set("audio", true)),
      onDecline: () => void this.#try(() => live.control("muteSelf")),
    });
    this.banner = h("div", { class: "banner", role: "status", testid: "banner", hidden: true }, icon("warn"), h("span", {}));
    this.element = h(
      "div",
      { class: "conference", testid: "conference" },
      this.header.element,
      h("main", { class: "centre" }, this.stage.element, this.banner, this.ask.element),
      this.side.element,
      this.controls.element,
      this.media.loudspeakers.element,
    );
    this.media.start();
    live.addEventListener("callgw", this.#moved);
    live.addEventListener("notice", (event) => this.#notice(/** @type {CustomEvent} */ (event).detail));
  }

  /** Draws what is true now. */
  update() {
    const { roster, self, isChair } = this.live;
    if (!roster || !self || this.#isStopped) return;
    this.#follow(self);
    const here = this.media.asHere(self);
    this.header.update(this.live, this.media.call.forwarded, !this.media.call.problem);
    this.stage.update({ ...roster, members: roster.members.map((member) => (member === self ? here : member)) }, self.userId);
    this.members.update(roster, self.userId, isChair, pendingCallees(this.#called(), roster.members));
    this.chat.update(roster, self.userId);
    this.side.update(roster, isChair);
    this.ask.update(self.unmuteAsked === true && here.audio === "off");
    this.controls.update(here, this.media.own.screen !== null, roster.conference.call);
    this.#forgetKnocks();
    this.#drawBanner();
  }

  /** In a new seat the roster learns what was chosen; in the same one it is followed. @param {import("./roster.js").Member} self */
  #follow(self) {
    const { seat } = this.choice;
    if (seat === self.joinedAt) {
      if (!this.#isAskingHand) this.choice.change({ hand: self.hand });
      return this.media.consent.follow(self);
    }
    this.choice.change({ seat: self.joinedAt });
    void this.#enter(self, seat !== null);
  }

  /** @param {import("./roster.js").Member} self @param {boolean} isAgain whether another seat of theirs was lost */
  async #enter(self, isAgain) {
    const raises = this.choice.hand && !self.hand;
    await Promise.all([this.#try(() => this.media.enter(self)), raises && this.#try(() => this.live.control("raiseHand"))]);
    if (!isAgain) return;
    const state = (/** @type {boolean} */ isOn) => (isOn ? "on" : "off");
    const { isSpeaking, isFilming } = this.media.own;
    this.toasts.show("notice.back", { microphone: t(`audio.${state(isSpeaking)}`), camera: t(`video.${state(isFilming)}`) });
  }

  stop() {
    this.#isStopped = true;
    this.live.removeEventListener("callgw", this.#moved);
    this.#forgetKnocks();
    this.media.stop();
    this.header.stop();
  }

  /** @param {Event} event */
  #moved = (event) => this.media.call.changed(/** @type {CustomEvent} */ (event).detail);

  /** A reload isn't a press: some browsers play nothing before one. */
  #askForSound() {
    this.toasts.show("media.blocked", {}, { localize: "media.unblock", testid: "unblock", onSelect: () => this.media.loudspeakers.unblock() });
  }

  /** @param {() => Promise<any>} work */
  #try(work) {
    return this.toasts.attempt(work);
  }

  /** @param {string} before @param {number} limit */
  async #older(before, limit) {
    const { rpc, confId } = this.live;
    const answer = await this.#try(() => rpc.call("conference.messages", { confId, before, limit }));
    return answer?.messages;
  }

  #membersPanel() {
    return new MembersPanel({
      onMenu: (member, anchor) => this.#memberMenu(member, anchor),
      onAnswer: (action, userId) => void this.#try(() => this.live.control(action, { userId })),
      onAdmitAll: () => void this.#try(() => this.live.control("admit", { value: "all" })),
    });
  }

  #controlBar() {
    return new ControlBar({
      onMicrophone: () => this.#microphone(),
      onCamera: () => this.#try(() => this.media.consent.set("video", !this.media.own.isFilming)),
      onScreen: canShareScreen() ? () => this.media.toggleScreen() : null,
      onHand: () => this.#setHand(!this.live.self?.hand),
      onManage: (anchor) => this.#manageMenu(anchor),
      onLeave: () => this.live.leave(),
    });
  }

  /** The press is the choice: a seat that is lost before the roster shows it doesn't bring the old one back. @param {boolean} hand */
  async #setHand(hand) {
    this.#isAskingHand = true;
    this.choice.change({ hand });
    await this.#try(() => this.live.control(hand ? "raiseHand" : "lowerHand"));
    this.#isAskingHand = false;
  }

  async #microphone() {
    const audio = this.live.self?.audio;
    if (audio === "forcedOff") {
      const raise = { localize: "control.raiseHand", testid: "toast-hand", onSelect: () => void this.#try(() => this.live.control("raiseHand")) };
      return this.toasts.show("notice.held", {}, this.live.self?.hand ? undefined : raise);
    }
    await this.#try(() => this.media.consent.set("audio", !this.media.own.isSpeaking));
  }

  /** @param {import("./roster.js").Member} member @param {HTMLElement} anchor */
  #memberMenu(member, anchor) {
    const { self, roster } = this.live;
    if (!self || !roster) return;
    const { picked, closed } = this.stage.choice;
    const stage = { mainVideo: roster.conference.mainVideo, chair: roster.conference.chair, picked, isClosed: closed.has(member.userId), closedScreen: this.stage.closedScreenOf(member.userId) };
    const items = memberActions(self, member, stage).map((action) => ({
      ...action,
      testid: `${action.id}-${member.userId}`,
      onSelect: () => this.#act(action, member),
    }));
    openMenu(anchor, items);
  }

  /** @param {HTMLElement} anchor */
  #manageMenu(anchor) {
    const { roster } = this.live;
    if (!roster) return;
    const invite = { testid: "manage-invite", localize: "invite.open", icon: "link", onSelect: () => this.#invite() };
    const items = conferenceActions(roster.conference).map((action) => ({
      ...action,
      testid: action.id,
      onSelect: () => this.#act(action),
    }));
    openMenu(anchor, [invite, ...items]);
  }

  /** @param {import("./actions.js").Action & {update?: object}} action @param {import("./roster.js").Member} [member] */
  async #act({ control, local, stream, update, confirm, danger }, member) {
    const name = member?.name ?? this.live.roster?.conference.confName ?? "";
    if (confirm && !(await confirmed(confirm, { name }, Boolean(danger)))) return;
    const { rpc, confId } = this.live;
    if (local && member) this.stage.choose(local, stream ?? member.userId);
    if (control) await this.#try(() => this.live.control(...control));
    if (update) await this.#try(() => rpc.call("conference.update", { confId, ...update }));
  }

  #invite() {
    openInvite(this.live.confId, this.live.rpc, this.toasts);
  }

  /** @param {{event: import("./roster.js").ConferenceEvent, before: import("./roster.js").Roster}} detail */
  #notice(detail) {
    const { self, isChair } = this.live;
    const words = self && wordsFor(detail, self.userId, isChair);
    if (detail.event.type === "message" && detail.event.data.userId !== self?.userId) this.side.markUnread();
    if (!words) return;
    if (!words.canAdmit) return void this.toasts.show(words.key, words.params);
    if (this.side.isSeen("members")) return; // the list of those who wait is there, and says it too
    const { userId } = detail.event.data;
    const admit = { localize: "waiting.admit", testid: `toast-admit-${userId}`, onSelect: () => void this.#try(() => this.live.control("admit", { userId })) };
    this.#knocks.set(userId, this.toasts.show(words.key, words.params, admit));
  }

  /** Takes away what is shown about people who no longer wait. */
  #forgetKnocks() {
    const waiting = new Set(this.live.phase === "in" ? this.live.roster?.waiting.map(({ userId }) => userId) : []);
    for (const [userId, away] of this.#knocks) {
      if (waiting.has(userId)) continue;
      away();
      this.#knocks.delete(userId);
    }
  }

  #drawBanner() {
    const { isOnline, troubles } = this.live;
    // Whether this person's sound and picture want for a gateway, their own call knows.
    const first = [...troubles].find((part) => part !== "callgw");
    const noMedia = this.media.call.problem;
    this.banner.hidden = isOnline && !first && !noMedia;
    const words = /** @type {Element} */ (this.banner.lastElementChild);
    if (!isOnline) localize(words, "banner.offline");
    else if (first === "goingAway") localize(words, "banner.goingAway");
    else if (first) localize(words, "banner.degraded", { part: isKnown(`part.${first}`) ? t(`part.${first}`) : first });
    else if (noMedia) localize(words, [`error.${noMedia}`, noMedia].find(isKnown) ?? "banner.noMedia");
  }
}

function canShareScreen() {
  return Boolean(navigator.mediaDevices?.getDisplayMedia);
}
