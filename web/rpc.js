// JSON-RPC calls: over the event socket while it is open, over HTTP POST otherwise.

import { addressOf } from "./address.js";

/** How long a call may take before it is given up. Above the server's own time limit for the EIM (10 s). */
const CALL_TIMEOUT_MS = 20_000;

const TOKEN_EXPIRED = -32002;
const TOO_MANY = -32029;

/** A call that failed: refused by the server, or never answered (then `code` is 0 and `key` starts with `net.`). */
export class RpcError extends Error {
  /**
   * @param {number} code JSON-RPC error code, 0 when there was no answer
   * @param {string} message English, for developers
   * @param {{key?: string, state?: number, retryAfterMs?: number, errors?: {path: string, message: string}[],
   *   traceId?: string}} [data]
   */
  constructor(code, message, data = {}) {
    super(message);
    this.name = "RpcError";
    this.code = code;
    this.data = data ?? {};
    /** Stable; what the page translates. */
    this.key = this.data.key ?? "";
  }

  /** Whether the same call may well succeed a little later. */
  get isPassing() {
    return this.code === 0 || this.code === TOO_MANY || this.code === -32010 || this.code === -32011;
  }
}

/** @param {string} key @param {string} message */
export function noAnswer(key, message) {
  return new RpcError(0, message, { key });
}

/**
 * One reply object to its result.
 * @param {any} reply
 */
export function resultOf(reply) {
  if (reply?.error) throw new RpcError(reply.error.code, reply.error.message, reply.error.data);
  if (reply === null || typeof reply !== "object" || !("result" in reply)) {
    throw noAnswer("net.badAnswer", "the answer is not a JSON-RPC reply");
  }
  return reply.result;
}

/**
 * One call over HTTP.
 * @param {string} method
 * @param {object} params
 * @param {string|null} token access token, null for open methods
 * @param {{fetch?: typeof globalThis.fetch, url?: string}} [where]
 */
export async function post(method, params, token, { fetch = globalThis.fetch, url = addressOf("jsonrpc") } = {}) {
  const headers = { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) };
  const body = JSON.stringify({ jsonrpc: "2.0", id: crypto.randomUUID(), method, params });
  let response;
  try {
    const signal = AbortSignal.timeout(CALL_TIMEOUT_MS);
    response = await fetch(url, { method: "POST", headers, body, signal, cache: "no-store" });
  } catch {
    throw noAnswer("net.unreachable", "the server cannot be reached");
  }
  if (response.status === 429) throw tooMany(response);
  let reply;
  try {
    reply = await response.json();
  } catch {
    throw noAnswer("net.badAnswer", `the answer is not JSON (HTTP ${response.status})`);
  }
  return resultOf(reply);
}

/** An HTTP 429 as the refusal that it is. @param {Response} response */
export function tooMany(response) {
  const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  const retryAfterMs = Number.isFinite(seconds) ? Math.max(1, seconds) * 1000 : 10_000;
  return new RpcError(TOO_MANY, "too many requests", { key: "http.tooMany", retryAfterMs });
}

/**
 * The calls waiting for their answers on one socket.
 * Owner: the socket that sends them; when it closes, all fail at once and nobody waits for the time limit.
 */
export class PendingCalls {
  #calls = new Map();
  #next = 1;

  /** @param {(text: string) => void} send @param {string} method @param {object} params @returns {Promise<any>} */
  call(send, method, params) {
    const id = `s${this.#next++}`;
    return new Promise((resolve, reject) => {
      const giveUp = () => this.#takePending(id)?.reject(noAnswer("net.timeout", "no answer in time"));
      this.#calls.set(id, { resolve, reject, timer: setTimeout(giveUp, CALL_TIMEOUT_MS) });
      send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    });
  }

  /** @param {any} reply a message with an `id` */
  answer(reply) {
    const call = this.#takePending(reply.id);
    if (!call) return;
    try {
      call.resolve(resultOf(reply));
    } catch (error) {
      call.reject(error);
    }
  }

  failAll() {
    for (const id of [...this.#calls.keys()]) {
      this.#takePending(id)?.reject(noAnswer("net.lost", "the connection was lost before the answer"));
    }
  }

  /** @param {string} id */
  #takePending(id) {
    const call = this.#calls.get(id);
    if (call) clearTimeout(call.timer);
    this.#calls.delete(id);
    return call;
  }
}

/**
 * Calls in the name of one session.
 */
export class Rpc {
  /** The event socket that carries calls while it is open. @type {{isOpen: boolean, call: Function}|null} */
  socket = null;

  /** @param {import("./session.js").Session} session */
  constructor(session) {
    this.session = session;
  }

  /**
   * @param {string} method e.g. `"conference.members"`
   * @param {object} [params] named params
   * @returns {Promise<any>} the result
   * @throws {RpcError}
   */
  async call(method, params = {}) {
    try {
      return await this.#send(method, params);
    } catch (error) {
      // Refused before anything was done, so the repeat is safe.
      if (!(error instanceof RpcError) || error.code !== TOKEN_EXPIRED || !this.session.canRefresh) throw error;
      await this.session.refresh();
      return this.#send(method, params);
    }
  }

  /** @param {string} method @param {object} params */
  #send(method, params) {
    if (this.socket?.isOpen) return this.socket.call(method, params);
    return post(method, params, this.session.accessToken);
  }
}
