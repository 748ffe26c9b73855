// Who is where on the stage.

/**
 * The main video shows, in this order: whom the reader picked, whom the chair made main, the chair, the first of the
 * others, oneself. The strip holds the others in order of joining, so the former main video comes back to its own
 * place. One's own picture stands in the corner once the camera is open.
 * @param {import("./roster.js").Roster} roster
 * @param {string} selfId
 * @param {{picked: string|null, closed: ReadonlySet<string>}} choice the reader's own, kept in this browser
 * @returns {{main: string|null, strip: string[], corner: boolean}}
 */
export function arrange(roster, selfId, { picked, closed }) {
  const shown = roster.members.map(({ userId }) => userId).filter((userId) => !closed.has(userId));
  const others = shown.filter((userId) => userId !== selfId);
  const { mainVideo, chair } = roster.conference;
  const wishes = [picked, mainVideo, chair === selfId ? null : chair, others[0], selfId];
  const main = wishes.find((userId) => userId && shown.includes(userId)) ?? null;
  const self = roster.members.find(({ userId }) => userId === selfId);
  return {
    main,
    strip: others.filter((userId) => userId !== main),
    corner: main !== selfId && self?.video === "on",
  };
}
