// Names of a call gateway's streams: a member's camera and microphone bear the member's name, their shared screen
// that name with a suffix. No user's id has a slash in it.

const SCREEN = "/screen";

/** @typedef {"camera"|"screen"} Source */

/** @param {string} userId @param {Source} source */
export function streamOf(userId, source) {
  return source === "screen" ? userId + SCREEN : userId;
}

/** @param {string} stream @returns {Source} */
export function sourceOf(stream) {
  return stream.endsWith(SCREEN) ? "screen" : "camera";
}

/** The owner of the stream. @param {string} stream */
export function ownerOf(stream) {
  return sourceOf(stream) === "screen" ? stream.slice(0, -SCREEN.length) : stream;
}
