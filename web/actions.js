// The reader's actions on a member and on the conference: the entries of the menus, as data.

/**
 * `control` goes to the server as `conference.control`; `local` concerns this browser's stage only, and there
 * `stream` if not the member's own picture. `confirm` is the catalogue prefix of a question asked first.
 * @typedef {{id: string, localize: string, icon: string, control?: [string, object], local?: "pick"|"unpick"|"close"|"reopen",
 *   stream?: string, confirm?: string, danger?: boolean}} Action
 */

/**
 * @param {import("./roster.js").Member} self
 * @param {import("./roster.js").Member} member
 * @param {{mainVideo: string|null, chair: string, picked: string|null, isClosed: boolean, closedScreen?: string}} stage
 * @returns {Action[]}
 */
export function memberActions(self, member, stage) {
  const isSelf = member.userId === self.userId;
  return [...(isSelf ? [] : stageActions(member, stage)), ...(self.role === "chair" ? chairActions(member, self, stage) : [])];
}

/** @param {import("./roster.js").Member} member @param {{picked: string|null, isClosed: boolean, closedScreen?: string}} stage @returns {Action[]} */
function stageActions({ userId }, { picked, isClosed, closedScreen }) {
  const pick = picked === userId
    ? /** @type {Action} */ ({ id: "unpick", localize: "member.unpick", icon: "pin", local: "unpick" })
    : /** @type {Action} */ ({ id: "pick", localize: "member.pick", icon: "pin", local: "pick" });
  const close = isClosed
    ? /** @type {Action} */ ({ id: "reopen", localize: "member.reopen", icon: "show", local: "reopen" })
    : /** @type {Action} */ ({ id: "hide", localize: "member.close", icon: "hide", local: "close" });
  const screen = /** @type {Action} */ ({ id: "reopen-screen", localize: "member.reopenScreen", icon: "screen", local: "reopen", stream: closedScreen });
  return [pick, close, ...(closedScreen ? [screen] : [])];
}

/**
 * @param {import("./roster.js").Member} member
 * @param {import("./roster.js").Member} self
 * @param {{mainVideo: string|null, chair: string}} stage `chair`: whom the conference names; there may be further ones
 * @returns {Action[]}
 */
function chairActions({ userId, audio, hand, unmuteAsked }, self, { mainVideo, chair }) {
  const main = mainVideo === userId
    ? { id: "unmain", localize: "member.unmain", icon: "screen", control: act("setMainVideo") }
    : { id: "main", localize: "member.main", icon: "screen", control: act("setMainVideo", userId) };
  if (userId === self.userId) return [main];
  const mute = { id: "mute", localize: "member.mute", icon: "micHeld", control: act("mute", userId) };
  const ask = { id: "ask", localize: "member.askUnmute", icon: "mic", control: act("unmute", userId) };
  const allow = { id: "unmute", localize: "member.allowUnmute", icon: "mic", control: act("allowUnmute", userId) };
  const microphone = { on: [mute], off: unmuteAsked ? [mute] : [ask, mute], forcedOff: [allow] }[audio];
  return [
    ...microphone,
    ...(hand ? [{ id: "lower", localize: "member.lowerHand", icon: "hand", control: act("lowerHand", userId) }] : []),
    main,
    ...(userId === chair ? [] : handOverAndOut(userId, self.userId === chair)),
  ];
}

/** @param {string} userId @param {boolean} isOwn whether the chair that is handed over is one's own @returns {Action[]} */
function handOverAndOut(userId, isOwn) {
  return [
    { id: "chair", localize: "member.makeChair", icon: "chair", control: act("setChair", userId), confirm: isOwn ? "confirm.chair" : "confirm.othersChair" },
    { id: "kick", localize: "member.kick", icon: "remove", control: act("kick", userId), confirm: "confirm.kick", danger: true },
    { id: "ban", localize: "member.ban", icon: "ban", control: act("ban", userId), confirm: "confirm.ban", danger: true },
  ];
}

/** @param {string} action @param {string} [userId] @returns {[string, object]} */
function act(action, userId) {
  return [action, userId === undefined ? {} : { userId }];
}

/**
 * @param {import("./roster.js").Conference} conference
 * @returns {(Action & {checked?: boolean, update?: object})[]} `update` goes to the server as `conference.update`
 */
export function conferenceActions({ locked, lobby }) {
  return [
    { id: "mute-all", localize: "manage.muteAll", icon: "micOff", control: ["muteAll", {}] },
    { id: "hold-all", localize: "manage.holdAll", icon: "micHeld", control: ["muteAll", { value: "locked" }] },
    { id: "unmute-all", localize: "manage.unmuteAll", icon: "mic", control: ["unmuteAll", {}] },
    { id: "lock", localize: "manage.lock", icon: "lock", checked: locked, control: [locked ? "unlock" : "lock", {}] },
    { id: "lobby", localize: "manage.lobby", icon: "lobby", checked: lobby, update: { lobby: !lobby } },
    { id: "end", localize: "manage.end", icon: "end", control: ["end", {}], confirm: "confirm.end", danger: true },
  ];
}
