// Where the server's parts are, seen from the page. Every page lives under one configurable base path and loads its
// modules from `{base}/assets/`, so this module's own address tells the base: nothing is written down twice.

const root = new URL("../", import.meta.url);

/** The base path without a slash at its end, e.g. `/gzbwclient`. */
export const basePath = root.pathname.replace(/\/+$/, "");

/**
 * The address of a part of the server.
 * @param {string} part e.g. `"jsonrpc"`, `"openrpc.json"`; `""` is the home page
 */
export function addressOf(part) {
  return new URL(part, root).href;
}

/**
 * A position in a conference's numbered events.
 * @typedef {{confId: string, epoch: string, seq: number}} Position
 */

/**
 * The event socket's address. Positions are no secret and so may stand in it; the token never does.
 * @param {Position[]} positions what has been seen; the server answers with what was missed
 * @param {URL} [from] the base address; tests pass their own
 */
export function socketAddress(positions, from = root) {
  const url = new URL("websck", from);
  url.protocol = from.protocol === "http:" ? "ws:" : "wss:";
  for (const { confId, epoch, seq } of positions) url.searchParams.append("resume", `${confId}:${epoch}:${seq}`);
  return url.href;
}
