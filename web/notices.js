// Which events deserve a passing word, and which words.

/**
 * @param {{event: import("./roster.js").ConferenceEvent, before: import("./roster.js").Roster}} happened
 * @param {string} selfId
 * @param {boolean} isChair
 * @returns {{key: string, params: Record<string, string>, canAdmit?: boolean}|null}
 */
export function wordsFor({ event, before }, selfId, isChair) {
  const { type, data, actor } = event;
  if (type === "waiting.added" && isChair) return { key: "notice.waiting", params: { name: data.name }, canAdmit: true };
  if (type === "conference.locked") return { key: "notice.locked", params: {} };
  if (type === "conference.unlocked") return { key: "notice.unlocked", params: {} };
  if (type !== "member.updated") return null;
  const former = before.members.find(({ userId }) => userId === data.userId);
  if (!former) return null;
  return data.userId === selfId ? aboutSelf(former, data, actor !== selfId) : aboutOther(former, data, isChair);
}

/** @typedef {import("./roster.js").Member} Member */

/** @param {Member} former @param {Member} now @param {boolean} isByOther */
function aboutSelf(former, now, isByOther) {
  const words = (/** @type {string} */ key) => ({ key, params: {} });
  if (former.role !== "chair" && now.role === "chair") return words("notice.youChair");
  if (former.audio !== "forcedOff" && now.audio === "forcedOff") return words("notice.held");
  if (now.unmuteAsked) return null; // the question says it
  if (former.audio === "forcedOff" && now.audio !== "forcedOff") return words("notice.mayUnmute");
  if (isByOther && former.audio === "on" && now.audio === "off") return words("notice.muted");
  return null;
}

/** @param {Member} former @param {Member} now @param {boolean} isChair */
function aboutOther(former, now, isChair) {
  const params = { name: now.name };
  if (isChair && !former.hand && now.hand) return { key: "notice.hand", params };
  if (former.role !== "chair" && now.role === "chair") return { key: "notice.chair", params };
  return null;
}
