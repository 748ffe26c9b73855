// The event socket: one connection at a time, kept up for as long as that is wanted, and told apart from one that the
// server closed for good.

import { socketAddress } from "./address.js";
import { Backoff, jittered } from "./backoff.js";
import { PendingCalls, RpcError, noAnswer } from "./rpc.js";

/** Why the server closes a socket. */
export const CLOSE = { goingAway: 1001, token: 4001, kicked: 4003, over: 4004, tooSlow: 4008, takenOver: 4009 };

/** After these a client does not come back by itself. */
const FINAL = new Set([CLOSE.kicked, CLOSE.over, CLOSE.takenOver]);
/** Our own close code for a connection that went silent. */
const SILENT = 4900;
/** Until `hello` says otherwise. */
const HEARTBEAT_MS = 10_000;
/** A connection that lasted this long resets the back-off. */
const STABLE_MS = 5_000;
/** A try that has brought no `hello` by then is given up. */
const HELLO_TIMEOUT_MS = 10_000;
/** Spreads the clients of a node that goes away over the others. */
const GOING_AWAY_MS = 1_000;

/**
 * @typedef {object} SocketOwner
 * @property {import("./session.js").Session} session
 * @property {() => import("./address.js").Position[]} positions what has been seen so far
 * @property {(method: string, params: any) => void} onNotice a notification of the server
 * @property {(state: "open"|"lost", retryInMs?: number) => void} onState
 * @property {(code: number|"signedOut", reason: string) => void} onEnd closed for good
 * @property {() => Promise<"retry"|"stop">} onRefused the connection could not be made: is there still a reason to try?
 */

export class EventSocket {
  /** @type {WebSocket|null} */
  #socket = null;
  #calls = new PendingCalls();
  #backoff = new Backoff({ baseMs: 500, maxMs: 10_000 });
  #heartbeatMs = HEARTBEAT_MS;
  #lastHeard = 0;
  #probeSent = 0;
  #timers = { retry: 0, pulse: 0, hello: 0, stable: 0 };
  #wanted = false;
  isOpen = false;

  /** @param {SocketOwner} owner @param {typeof WebSocket} [Socket] tests pass their own */
  constructor(owner, Socket = globalThis.WebSocket) {
    this.owner = owner;
    this.Socket = Socket;
  }

  open() {
    if (this.#wanted) return;
    this.#wanted = true;
    globalThis.addEventListener?.("online", this.#retryNow);
    globalThis.document?.addEventListener("visibilitychange", this.#retryNow);
    this.#connect();
  }

  close() {
    this.#stop();
    this.#socket?.close(1000);
    this.#clear();
  }

  /** A fresh connection at once, e.g. because events are missing. */
  restart() {
    if (this.#wanted) this.#drop(SILENT);
  }

  /** @param {string} method @param {object} params @returns {Promise<any>} */
  call(method, params) {
    const socket = this.#socket;
    if (!socket || !this.isOpen) return Promise.reject(noAnswer("net.lost", "the event socket is not open"));
    return this.#calls.call((text) => socket.send(text), method, params);
  }

  #connect() {
    clearTimeout(this.#timers.retry);
    const token = this.owner.session.accessToken;
    if (!token) return this.#end("signedOut", "");
    const socket = new this.Socket(socketAddress(this.owner.positions()), ["confgate", `bearer.${token}`]);
    this.#socket = socket;
    let greeted = false;
    this.#timers.hello = setTimeout(() => socket === this.#socket && this.#drop(SILENT), HELLO_TIMEOUT_MS);
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return;
      this.#lastHeard = Date.now();
      const message = parse(data);
      if (!greeted && message?.method === "hello") {
        greeted = true;
        this.#greeted(message.params);
      } else if (message) {
        this.#heard(message);
      }
    };
    socket.onclose = ({ code, reason }) => {
      if (socket === this.#socket) this.#closed(code, reason, greeted);
    };
  }

  /** @param {{heartbeatMs?: number}} hello */
  #greeted(hello) {
    clearTimeout(this.#timers.hello);
    this.isOpen = true;
    this.#heartbeatMs = hello?.heartbeatMs ?? HEARTBEAT_MS;
    this.#probeSent = 0;
    this.#timers.stable = setTimeout(() => this.#backoff.reset(), STABLE_MS);
    this.#timers.pulse = setInterval(() => this.#pulse(), this.#heartbeatMs / 4);
    this.owner.onState("open");
  }

  /** @param {any} message */
  #heard(message) {
    this.#probeSent = 0;
    if (typeof message.method !== "string") return this.#calls.answer(message);
    if (message.method === "auth.expiring") this.#renew();
    this.owner.onNotice(message.method, message.params ?? {});
  }

  /** On the socket itself, so that the socket's own deadline moves. A failure shows as close code 4001. */
  #renew() {
    this.owner.session.refresh((method, params) => this.call(method, params)).catch(() => {});
  }

  /**
   * The server's pings are invisible to a page, so an idle connection is asked something cheap. Only an unanswered
   * question counts as silence: the timers of a hidden tab run late, its messages do not.
   */
  #pulse() {
    const now = Date.now();
    if (this.#probeSent && now - this.#probeSent > this.#heartbeatMs * 1.5) return this.#drop(SILENT);
    if (this.#probeSent || now - this.#lastHeard < this.#heartbeatMs) return;
    this.#probeSent = now;
    this.call("config.getProperties", { keys: [] }).catch(() => {});
  }

  /** The network or the reader is back: don't sit out the back-off. */
  #retryNow = () => {
    if (!this.#wanted || globalThis.document?.visibilityState === "hidden") return;
    if (!this.#socket) this.#connect();
    else if (this.isOpen) this.#pulse();
  };

  /** Gives up the connection without waiting for the other side to agree. @param {number} code */
  #drop(code) {
    const socket = this.#socket;
    const greeted = this.isOpen;
    if (!socket) return;
    socket.close(code);
    this.#closed(code, "", greeted);
  }

  /** @param {number} code @param {string} reason @param {boolean} greeted */
  #closed(code, reason, greeted) {
    this.#clear();
    if (!this.#wanted) return;
    if (FINAL.has(code)) return this.#end(code, reason);
    if (code === CLOSE.token) return void this.#comeBackRenewed();
    if (!greeted) return void this.#comeBackIfSensible();
    this.#retryIn(code === CLOSE.goingAway ? jittered(GOING_AWAY_MS, 0.9) : this.#backoff.next());
  }

  async #comeBackRenewed() {
    this.owner.onState("lost", 0);
    try {
      await this.owner.session.refresh();
      this.#retryIn(0);
    } catch (error) {
      if (error instanceof RpcError && error.isPassing) this.#retryIn(this.#backoff.next());
      else this.#end("signedOut", "");
    }
  }

  async #comeBackIfSensible() {
    this.owner.onState("lost", 0);
    if ((await this.owner.onRefused()) === "retry") this.#retryIn(this.#backoff.next());
  }

  /** @param {number} ms */
  #retryIn(ms) {
    if (!this.#wanted || this.#socket) return;
    this.owner.onState("lost", ms);
    this.#timers.retry = setTimeout(() => this.#connect(), ms);
  }

  /** @param {number|"signedOut"} code @param {string} reason */
  #end(code, reason) {
    this.#stop();
    this.owner.onEnd(code, reason);
  }

  #stop() {
    this.#wanted = false;
    globalThis.removeEventListener?.("online", this.#retryNow);
    globalThis.document?.removeEventListener("visibilitychange", this.#retryNow);
    clearTimeout(this.#timers.retry);
  }

  #clear() {
    this.#socket = null;
    this.isOpen = false;
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    this.#calls.failAll();
  }
}

/** @param {any} data @returns {any} null for what is no JSON object */
function parse(data) {
  try {
    const message = JSON.parse(data);
    return message !== null && typeof message === "object" ? message : null;
  } catch {
    return null;
  }
}
