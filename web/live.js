// One conference as this browser takes part in it: entering, the lobby, the roster, coming back after a cut, and the
// end. No DOM here; the views listen and draw.

import { EventSocket, CLOSE } from "./socket.js";
import { Backoff } from "./backoff.js";
import { RpcError } from "./rpc.js";
import { advance, find, fromSnapshot } from "./roster.js";

/** How long the server has, after a connection or a join, to show us in a snapshot. */
const SNAPSHOT_TIMEOUT_MS = 4_000;

/** `data.state` and the close codes, as reasons. */
const STATE_REASONS = /** @type {Record<number, string>} */ ({ 30: "notStarted", 31: "ended", 32: "unknown" });
const CLOSE_REASONS = /** @type {Record<number, string>} */ ({
  [CLOSE.kicked]: "kicked",
  [CLOSE.over]: "ended",
  [CLOSE.takenOver]: "takenOver",
});

/**
 * `change`: anything to draw is different. `notice`: something worth a passing word, `detail` = {event, before}.
 * `call`: news of a call, this one's or another that rings, `detail` = {method, params}.
 * `callgw`: the conference has another call gateway, `detail` = {from, to, reason}. `leaving`: the reader leaves for good.
 * Phases: `connecting` -> `waiting` (in the lobby) | `in` -> `over`, for `reason`: left, kicked, banned, denied, ended,
 * notStarted, unknown, takenOver, signedOut, refused (then `error` says why).
 */
export class LiveConference extends EventTarget {
  /** @type {"connecting"|"waiting"|"in"|"over"} */
  phase = "connecting";
  /** @type {string|null} */
  reason = null;
  /** @type {RpcError|null} */
  error = null;
  /** @type {import("./roster.js").Roster|null} */
  roster = null;
  isOnline = true;
  /** Parts of the server that are degraded, and `goingAway`. @type {Set<string>} */
  troubles = new Set();

  #backoff = new Backoff({ baseMs: 1_000, maxMs: 15_000 });
  #timer = 0;
  #isJoining = false;
  #isLeaving = false;
  /** False after a gap: what is drawn is stale, and only a snapshot helps. */
  #isInStep = false;
  #knowsWaiting = false;

  /**
   * @param {string} confId
   * @param {import("./rpc.js").Rpc} rpc
   * @param {(owner: import("./socket.js").SocketOwner) => EventSocket} [makeSocket]
   */
  constructor(confId, rpc, makeSocket = (owner) => new EventSocket(owner)) {
    super();
    this.confId = confId;
    this.rpc = rpc;
    this.session = rpc.session;
    this.socket = makeSocket({
      session: rpc.session,
      positions: () => this.#positions(),
      onNotice: (method, params) => this.#hear(method, params),
      onState: (state) => this.#connection(state),
      onEnd: (code) => this.#closed(code),
      onRefused: () => this.#reasonToRetry(),
    });
    rpc.socket = this.socket;
  }

  /** This user's own member, from the roster. */
  get self() {
    return this.session.userId ? find(this.roster, this.session.userId) : undefined;
  }

  get isChair() {
    return this.self?.role === "chair";
  }

  /** Goes in with a new login. Joined first, so that the socket's first words are the snapshot. */
  enter() {
    return this.#join();
  }

  /** Comes back with the login of before a reload: the server still keeps the seat, so nothing is joined anew. */
  comeBack() {
    this.socket.open();
  }

  /** After another window took the conference over, by the reader's own wish only. */
  takeBack() {
    this.rpc.socket = this.socket;
    this.#isInStep = false;
    this.#become("connecting");
    this.socket.open();
  }

  /** Leaves for good. The page hears of it before the server answers: one that is closed or opened anew meanwhile doesn't come back. */
  async leave() {
    if (this.phase === "over") return; // we may be in it anew
    this.#isLeaving = true;
    this.dispatchEvent(new Event("leaving"));
    try {
      await this.rpc.call("conference.leave", { confId: this.confId });
    } catch {
      // The socket's end below takes us out too, a grace later.
    }
    this.#finish("left");
  }

  /**
   * @param {string} action of `conference.control`
   * @param {{userId?: string, value?: string}} [rest]
   */
  async control(action, rest = {}) {
    try {
      return await this.rpc.call("conference.control", { confId: this.confId, action, ...rest });
    } catch (error) {
      // It ended the conference, and with it our connection: the event was the answer.
      if (this.phase === "over") return {};
      throw error;
    }
  }

  #positions() {
    // A waiting member gets no events and so has no position; admission brings a snapshot.
    if (!this.roster || !this.#isInStep || this.phase !== "in") return [];
    return [{ confId: this.confId, epoch: this.roster.epoch, seq: this.roster.seq }];
  }

  async #join() {
    // A snapshot on the way out, which we are no longer in, is no reason to come in again.
    if (this.#isJoining || this.#isLeaving || this.phase === "over") return;
    this.#isJoining = true;
    clearTimeout(this.#timer);
    try {
      const { member } = await this.rpc.call("conference.join", { confId: this.confId });
      this.#backoff.reset();
      if (member?.state === "waiting") this.#become("waiting");
      else this.#expectSnapshot(() => this.#startOver());
      this.socket.open();
    } catch (error) {
      this.#joinFailed(error);
    } finally {
      this.#isJoining = false;
    }
  }

  /** @param {unknown} error */
  #joinFailed(error) {
    if (!(error instanceof RpcError)) throw error;
    if (!error.isPassing) return this.#refused(error);
    this.error = error;
    const ms = Math.max(error.data.retryAfterMs ?? 0, this.#backoff.next());
    this.#timer = setTimeout(() => this.#join(), ms);
    this.#changed();
  }

  /** @param {RpcError} error that trying again would not change */
  #refused(error) {
    if (error.code === -32001) return this.#finish("signedOut");
    if (error.code === -32006) return this.#finish(STATE_REASONS[error.data.state ?? 31] ?? "ended");
    if (error.code === -32004) return this.#finish("unknown");
    this.#finish("refused", error);
  }

  /** A fresh connection that names no position brings a snapshot. */
  #startOver() {
    this.#isInStep = false;
    this.socket.restart();
  }

  /** @param {() => void} otherwise */
  #expectSnapshot(otherwise) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(otherwise, SNAPSHOT_TIMEOUT_MS);
  }

  /** @param {"open"|"lost"} state */
  #connection(state) {
    this.isOnline = state === "open";
    this.troubles.delete("goingAway");
    // A resumed connection brings the missed events only: being in the roster already is enough.
    if (this.isOnline && this.phase === "connecting") this.#expectSnapshot(() => this.#join());
    this.#changed();
  }

  /** @param {number|"signedOut"} code */
  #closed(code) {
    if (this.phase === "over") return;
    if (code === CLOSE.kicked && this.phase === "waiting") return this.#finish("denied");
    this.#finish(CLOSE_REASONS[Number(code)] ?? "signedOut");
  }

  /** A connection was refused before it began; an HTTP call tells why, and renews an expired token on the way. */
  async #reasonToRetry() {
    try {
      await this.rpc.call("conference.get", { confId: this.confId });
      return "retry";
    } catch (error) {
      if (!(error instanceof RpcError) || error.isPassing || error.code === -32603) return "retry";
      this.#refused(error);
      return "stop";
    }
  }

  /** @param {string} method @param {any} params */
  #hear(method, params) {
    if (method === "conference.snapshot" && params.confId === this.confId) this.#see(params);
    else if (method === "conference.event" && params.confId === this.confId) this.#follow(params);
    else if (method === "degraded") this.#trouble(params.part, true);
    else if (method === "restored") this.#trouble(params.part, false);
    else if (method === "goingAway") this.#trouble("goingAway", true);
    else if (method.startsWith("call.")) this.dispatchEvent(new CustomEvent("call", { detail: { method, params } }));
    else if (method === "callgw.changed" && params.confId === this.confId) this.dispatchEvent(new CustomEvent("callgw", { detail: params }));
  }

  /** @param {string} part @param {boolean} isThere */
  #trouble(part, isThere) {
    if (isThere) this.troubles.add(part);
    else this.troubles.delete(part);
    this.#changed();
  }

  /** @param {any} snapshot */
  #see(snapshot) {
    clearTimeout(this.#timer);
    const roster = fromSnapshot(snapshot);
    this.roster = roster;
    this.#isInStep = true;
    this.#knowsWaiting = Array.isArray(snapshot.waiting);
    if (roster.conference.state === 31) return this.#finish("ended");
    const self = this.self;
    if (!self) {
      this.#join();
      return;
    }
    this.#become(self.state === "waiting" ? "waiting" : "in");
  }

  /** @param {import("./roster.js").ConferenceEvent} event */
  #follow(event) {
    // Without a roster: only that we have been sent away in the moment in which we came.
    if (this.phase === "waiting" || !this.roster) return void this.#concernsSelf(event);
    if (!this.#isInStep) return;
    const before = this.roster;
    const { outcome, roster } = advance(before, event);
    if (outcome === "gap") return this.#startOver();
    if (outcome === "repeat") return;
    this.roster = roster;
    if (this.#concernsSelf(event)) return;
    // A new chair has not been told who waits.
    if (this.isChair && !this.#knowsWaiting) this.#startOver();
    this.dispatchEvent(new CustomEvent("notice", { detail: { event, before } }));
    this.#changed();
  }

  /** Whether the event took us out. @param {import("./roster.js").ConferenceEvent} event */
  #concernsSelf({ type, data }) {
    const isOurs = data?.userId === this.session.userId;
    if (type === "conference.ended") {
      this.#finish("ended");
    } else if (isOurs && type === "member.left" && data.reason === "timeout") {
      this.#join(); // we are here after all
    } else if (isOurs && (type === "member.left" || (type === "waiting.removed" && data.reason !== "admitted"))) {
      this.#finish(data.reason);
    } else {
      return false;
    }
    return true;
  }

  /** @param {"connecting"|"waiting"|"in"} phase */
  #become(phase) {
    this.phase = phase;
    this.reason = null;
    this.error = null;
    this.#changed();
  }

  /** @param {string} reason @param {RpcError} [error] */
  #finish(reason, error) {
    if (this.phase === "over") return;
    clearTimeout(this.#timer);
    this.phase = "over";
    this.reason = reason;
    this.error = error ?? null;
    this.socket.close();
    this.rpc.socket = null;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
