// How long the conference has been going on.

/**
 * `m:ss`, from an hour on `h:mm:ss`.
 * @param {number} ms negative counts as nothing: clocks differ
 */
export function elapsed(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (/** @type {number} */ part) => String(part).padStart(2, "0");
  return parts[0] > 0 ? `${parts[0]}:${two(parts[1])}:${two(parts[2])}` : `${parts[1]}:${two(parts[2])}`;
}

/**
 * Since when, in ms since 1970: the conference's start if that is past, else the first that joined of those present.
 * @param {import("./roster.js").Roster} roster
 * @param {number} now
 */
export function startOf({ conference, members }, now) {
  if (conference.startAt && conference.startAt <= now) return conference.startAt;
  return members[0]?.joinedAt ?? now;
}
