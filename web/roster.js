// The state of one conference, and how a numbered event changes it. The server's roster follows the same rule, so
// replaying events over a snapshot always gives what the server has.

/**
 * @typedef {{userId: string, name: string, role: "chair"|"member"|"guest", state: "joined"|"reconnecting"|"waiting",
 *   audio: "on"|"off"|"forcedOff", video: "on"|"off", hand: boolean, unmuteAsked?: true, joinedAt: number}} Member
 * @typedef {{confId: string, confName: string, state: 0|30|31, startAt: number|null, chair: string, locked: boolean,
 *   lobby: boolean, mutePolicy: "free"|"joinMuted"|"locked", mainVideo: string|null,
 *   call?: {callId: string, mode: "p2p"|"group"}}} Conference
 * @typedef {{messageId: string, userId: string, text: string, time: number}} Message
 * @typedef {{confId: string, epoch: string, seq: number, conference: Conference, members: Member[],
 *   waiting: Member[], messages: Message[]}} Roster
 * @typedef {{confId: string, epoch: string, seq: number, time: number, type: string, actor: string|null,
 *   data: any}} ConferenceEvent
 */

/** Most messages that a roster keeps, as the server's snapshot does: the newest. */
export const SNAPSHOT_MESSAGES = 200;

/**
 * @param {any} snapshot the params of `conference.snapshot`
 * @returns {Roster}
 */
export function fromSnapshot({ confId, epoch, seq, conference, members, waiting, messages }) {
  return { confId, epoch, seq, conference, members: members ?? [], waiting: waiting ?? [], messages: messages ?? [] };
}

/**
 * Takes the next event. `repeat`: already in the roster; `gap`: something is missing (or the server counts anew), so
 * only a fresh snapshot helps. In both cases the roster comes back unchanged.
 * @param {Roster} roster
 * @param {ConferenceEvent} event
 * @returns {{outcome: "applied"|"repeat"|"gap", roster: Roster}}
 */
export function advance(roster, event) {
  if (event.epoch !== roster.epoch) return { outcome: "gap", roster };
  if (event.seq <= roster.seq) return { outcome: "repeat", roster };
  if (event.seq !== roster.seq + 1) return { outcome: "gap", roster };
  return { outcome: "applied", roster: { ...apply(roster, event), seq: event.seq } };
}

/**
 * The change alone, without the counting. A type that this page does not know changes nothing.
 * @param {Roster} roster
 * @param {{type: string, data: any}} change
 * @returns {Roster}
 */
export function apply(roster, { type, data }) {
  switch (type) {
    case "conference.created":
    case "conference.started":
    case "conference.updated":
    case "conference.locked":
    case "conference.unlocked":
    case "conference.mainVideo":
      return { ...roster, conference: data };
    case "conference.ended":
      return { ...roster, conference: data, members: [], waiting: [] };
    case "member.joined":
    case "member.updated":
      return { ...roster, members: placed(roster.members, data) };
    case "member.left":
      return { ...roster, members: without(roster.members, data.userId) };
    case "waiting.added":
      return { ...roster, waiting: placed(roster.waiting, data) };
    case "waiting.removed":
      return { ...roster, waiting: without(roster.waiting, data.userId) };
    case "message":
      return { ...roster, messages: [...roster.messages, data].slice(-SNAPSHOT_MESSAGES) };
    default:
      return roster;
  }
}

/**
 * A user of the conference, admitted or waiting.
 * @param {Roster|null} roster
 * @param {string} userId
 * @returns {Member|undefined}
 */
export function find(roster, userId) {
  const same = (/** @type {Member} */ member) => member.userId === userId;
  return roster?.members.find(same) ?? roster?.waiting.find(same);
}

/** @param {Member[]} list @param {string} userId */
function without(list, userId) {
  return list.filter((member) => member.userId !== userId);
}

/** Puts the member in the place that their time of joining gives them. @param {Member[]} list @param {Member} member */
function placed(list, member) {
  const others = without(list, member.userId);
  const at = others.findIndex((other) => !isBefore(other, member));
  return at < 0 ? [...others, member] : [...others.slice(0, at), member, ...others.slice(at)];
}

/** @param {Member} a @param {Member} b */
function isBefore(a, b) {
  return a.joinedAt < b.joinedAt || (a.joinedAt === b.joinedAt && a.userId < b.userId);
}
