// The callees of one's own call, and the state of each. Pure.

/**
 * @typedef {import("./phone.js").Person} Person
 * @typedef {Person & {state: "ringing"|"in"|"busy"|"declined"|"missed", reason: string}} Callee `reason`: of `declined`, in
 *   their own words, or ""
 */

/**
 * Those people, each with what is known of them already; who isn't among them, and of whom something is known, stays.
 * @param {Callee[]} called
 * @param {Person[]} people
 * @returns {Callee[]}
 */
export function mergeCallees(called, people) {
  const known = new Map(called.map((each) => [each.userId, each]));
  const listed = people.map(({ userId, name }) => {
    const { state = "ringing", reason = "" } = known.get(userId) ?? {};
    known.delete(userId);
    return { userId, name, state, reason };
  });
  return [...listed, ...known.values()];
}

/**
 * The callees after an event of the call.
 * @param {Callee[]} called
 * @param {string} news `answered`, `declined`, `missed`; others are not about one of them
 * @param {{userId?: string, from?: string, reason?: string}} params
 * @returns {Callee[]}
 */
export function calleesAfter(called, news, { userId, from, reason = "" }) {
  const state = stateAfter(news, reason);
  if (!state || !userId || userId === from) return called;
  const now = { state, reason: state === "declined" ? reason : "" };
  if (!called.some((each) => each.userId === userId)) return [...called, { userId, name: userId, ...now }];
  return called.map((each) => (each.userId === userId ? { ...each, ...now } : each));
}

/** @param {string} news @param {string} reason @returns {Callee["state"]|null} */
function stateAfter(news, reason) {
  if (news === "answered") return "in";
  if (news === "declined") return reason === "busy" ? "busy" : "declined";
  return news === "missed" ? "missed" : null;
}

/**
 * The callees that haven't come yet: not in the conference, and not gone from it again.
 * @param {Callee[]} called
 * @param {Person[]} members
 */
export function pendingCallees(called, members) {
  const here = new Set(members.map(({ userId }) => userId));
  return called.filter(({ userId, state }) => state !== "in" && !here.has(userId));
}
