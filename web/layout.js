// The places of the members on the stage.

import { ownerOf, sourceOf } from "./call/streams.js";

/**
 * A place shows a stream: a member's own picture bears their id, their shared screen that id and a suffix.
 *
 * The main video shows, in this order: what the reader picked, whom the chair made main (their screen, if they share
 * one), another shared screen, who speaks, the chair, the first of the others, oneself. The strip holds the others in
 * order of joining, each screen after its owner, so the former main video comes back to its own place. One's own
 * picture stands in the corner once the camera is open.
 * @param {import("./roster.js").Roster} roster
 * @param {string} selfId
 * @param {{picked: string|null, closed: ReadonlySet<string>}} choice the reader's own, kept in this browser
 * @param {{screens: string[], speaker: string|null}} call what is shared, and who of the others spoke last
 * @returns {{main: string|null, strip: string[], corner: boolean}}
 */
export function arrange(roster, selfId, { picked, closed }, { screens, speaker } = { screens: [], speaker: null }) {
  const places = roster.members.flatMap(({ userId }) => [userId, ...screens.filter((screen) => ownerOf(screen) === userId)]);
  const shown = places.filter((place) => !closed.has(place));
  const others = shown.filter((place) => place !== selfId);
  const { mainVideo, chair } = roster.conference;
  const shared = others.filter((place) => sourceOf(place) === "screen");
  const mainScreen = shared.find((place) => ownerOf(place) === mainVideo);
  const notSelf = (/** @type {string|null} */ userId) => (userId === selfId ? null : userId);
  const wishes = [picked, mainScreen, mainVideo, shared.at(-1), notSelf(speaker), notSelf(chair), others[0], selfId];
  const main = wishes.find((place) => place && shown.includes(place)) ?? null;
  const self = roster.members.find(({ userId }) => userId === selfId);
  return {
    main,
    strip: others.filter((place) => place !== main),
    corner: main !== selfId && self?.video === "on",
  };
}
