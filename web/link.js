// Asking a link what it leads to.

import { noAnswer, RpcError, tooMany } from "./rpc.js";

/** States of a conference behind a link. */
export const STATE = { open: 0, notStarted: 30, ended: 31, unknown: 32 };

/**
 * `POST` to the guest page's own address.
 * @param {string} path the page's path, exactly as the browser has it
 * @param {typeof globalThis.fetch} [fetch]
 * @returns {Promise<{confId: string, confName: string, state: number, code: number}>}
 * @throws {RpcError} with `data.retryAfterMs` when asked too often
 */
export async function askLink(path, fetch = globalThis.fetch) {
  let response;
  try {
    response = await fetch(path, { method: "POST", cache: "no-store", signal: AbortSignal.timeout(20_000) });
  } catch {
    throw noAnswer("net.unreachable", "the server cannot be reached");
  }
  if (response.status === 429) throw tooMany(response);
  if (!response.ok) throw new RpcError(0, `HTTP ${response.status}`, { key: "net.badAnswer" });
  try {
    return await response.json();
  } catch {
    throw noAnswer("net.badAnswer", "the answer is not JSON");
  }
}
