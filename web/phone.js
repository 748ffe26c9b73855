// Calls of a user who is signed in: calling somebody, being called, and what became of it. Listens on an event socket
// of its own, except while a conference has one. No DOM here; the screens listen and draw.

import { EventSocket } from "./socket.js";
import { RpcError } from "./rpc.js";
import { Line } from "./line.js";

/**
 * @typedef {{userId: string, name: string}} Person
 * @typedef {{callId: string, confId: string, person: Person, withVideo: boolean, isGroup: boolean}} PhoneCall
 * `outcome` of one's own call: `busy`, `declined` (with the callee's reason), `missed`, `failed`
 * @typedef {{call: PhoneCall, outcome: string|null, reason: string}} Dialled
 */

/**
 * `change`: anything to draw is different. `enter`: a call is on, `detail` = PhoneCall: go into its conference.
 * `missed`: nobody here answered, `detail` = Person. `trouble`: a call could not be made or taken, `detail` = RpcError.
 */
export class Phone extends EventTarget {
  /** Calls that ring here, the first first. @type {PhoneCall[]} */
  incoming = [];
  /** The call that is being made. @type {Dialled|null} */
  dialled = null;
  /** Whether another device has taken the user's line: it rings there. */
  isElsewhere = false;
  #isResting = false;
  /** News that came before the answer to `call.start` said which call it is. @type {[string, any][]} */
  #early = [];

  /**
   * @param {import("./rpc.js").Rpc} rpc
   * @param {(owner: import("./socket.js").SocketOwner) => EventSocket} [makeSocket]
   */
  constructor(rpc, makeSocket = (owner) => new EventSocket(owner)) {
    super();
    this.rpc = rpc;
    this.socket = makeSocket({
      session: rpc.session,
      positions: () => [],
      onNotice: (method, params) => this.hear(method, params),
      onState: () => this.#changed(),
      onEnd: (code) => this.#ended(code),
      onRefused: () => this.#reasonToRetry(),
    });
    this.line = new Line(rpc.session.userId ?? "", { onHeld: () => this.#listen(), onLost: () => this.#hush() });
  }

  /** Rings from now on. */
  start() {
    this.#isResting = false;
    if (this.line.isHeld) this.#listen();
    else this.line.wait();
  }

  /** A conference is entered: its own socket takes this one's place. */
  rest() {
    this.#isResting = true;
    this.dialled = null;
    this.line.take();
    this.#changed();
  }

  stop() {
    this.#isResting = true;
    this.line.release();
    this.#hush();
  }

  /** By the reader's own wish, after another device had the line. */
  takeBack() {
    this.line.take();
    if (this.line.isHeld) this.#listen();
  }

  #listen() {
    if (this.#isResting) return;
    this.isElsewhere = false;
    this.rpc.socket = this.socket;
    this.socket.open();
    this.#changed();
  }

  #hush() {
    this.socket.close();
    if (this.rpc.socket === this.socket) this.rpc.socket = null;
    this.incoming = [];
    this.#changed();
  }

  /** @param {number|"signedOut"} code */
  #ended(code) {
    if (this.rpc.socket === this.socket) this.rpc.socket = null;
    if (this.#isResting) return;
    this.isElsewhere = code !== "signedOut";
    this.incoming = [];
    if (this.dialled && !this.dialled.outcome) this.#outcome("failed");
    this.#changed();
  }

  async #reasonToRetry() {
    try {
      await this.rpc.call("conference.list");
      return "retry";
    } catch (error) {
      return error instanceof RpcError && error.code === -32001 ? "stop" : "retry";
    }
  }

  // Calling

  /** @param {Person} person @param {boolean} withVideo */
  async call(person, withVideo) {
    if (this.dialled && !this.dialled.outcome) return;
    const call = { callId: "", confId: "", person, withVideo, isGroup: false };
    this.dialled = { call, outcome: null, reason: "" };
    this.#early = [];
    this.#changed();
    const started = await this.#try("call.start", { to: [person.userId] });
    if (this.dialled?.call !== call) {
      if (started) await this.#try("call.cancel", { callId: started.callId }); // given up meanwhile
      return;
    }
    if (started) Object.assign(call, { callId: started.callId, confId: started.confId });
    else this.dialled = null;
    this.#changed();
    for (const [method, params] of this.#early.splice(0)) this.hear(method, params);
  }

  async cancel() {
    const callId = this.dialled?.call.callId;
    this.dialled = null;
    this.#changed();
    if (callId) await this.#try("call.cancel", { callId });
  }

  /** The outcome was read. */
  dismiss() {
    this.dialled = null;
    this.#changed();
  }

  // Being called

  /** @param {PhoneCall} call @param {boolean} withVideo */
  async accept(call, withVideo) {
    this.#forget(call.callId);
    const accepted = await this.#try("call.accept", { callId: call.callId });
    if (accepted) this.#enter({ ...call, confId: accepted.confId, withVideo });
  }

  /** @param {PhoneCall} call */
  async decline(call) {
    this.#forget(call.callId);
    await this.#try("call.decline", { callId: call.callId });
  }

  /** News of calls, from one's own socket or a conference's. @param {string} method @param {any} params */
  hear(method, params) {
    if (!method.startsWith("call.")) return;
    const news = method.slice("call.".length);
    if (news === "incoming") return void this.#rings(params);
    if (this.dialled && !this.dialled.call.callId) this.#early.push([method, params]);
    const isOurs = params.callId === this.dialled?.call.callId;
    if (isOurs) return this.#ofDialled(news, params);
    const rang = this.#forget(params.callId);
    if (rang && (news === "missed" || news === "cancelled")) this.dispatchEvent(new CustomEvent("missed", { detail: rang.person }));
  }

  /** @param {{callId: string, confId: string, from: string, mode: string}} params */
  async #rings({ callId, confId, from, mode }) {
    if (this.incoming.some((call) => call.callId === callId)) return;
    const person = { userId: from, name: from };
    const call = { callId, confId, person, withVideo: false, isGroup: mode === "group" };
    this.incoming = [...this.incoming, call];
    this.#changed();
    person.name = (await this.#nameOf(from)) ?? from;
    this.#changed();
  }

  /** @param {string} userId */
  async #nameOf(userId) {
    try {
      const { users } = await this.rpc.call("org.contacts.search", { query: userId });
      return users.find((/** @type {Person} */ user) => user.userId === userId)?.name;
    } catch {
      return undefined; // who isn't in the address book, or can't be looked up now, is shown by their id
    }
  }

  /** @param {string} news @param {{userId?: string, reason?: string}} params */
  #ofDialled(news, { reason = "" }) {
    const call = /** @type {Dialled} */ (this.dialled).call;
    if (news === "answered") return this.#enter(call);
    if (news === "declined") return this.#outcome(reason === "busy" ? "busy" : "declined", reason);
    this.#outcome(news === "missed" ? "missed" : "failed");
  }

  /** @param {string} outcome @param {string} [reason] */
  #outcome(outcome, reason = "") {
    if (this.dialled) this.dialled = { ...this.dialled, outcome, reason };
    this.#changed();
  }

  /** @param {PhoneCall} call */
  #enter(call) {
    this.dialled = null;
    this.dispatchEvent(new CustomEvent("enter", { detail: call }));
  }

  /** @param {string} callId */
  #forget(callId) {
    const call = this.incoming.find((each) => each.callId === callId);
    this.incoming = this.incoming.filter((each) => each !== call);
    if (call) this.#changed();
    return call;
  }

  /** @param {string} method @param {object} params @returns {Promise<any>} */
  async #try(method, params) {
    try {
      return await this.rpc.call(method, params);
    } catch (error) {
      this.#troubled(error);
      return undefined;
    }
  }

  /** @param {unknown} error */
  #troubled(error) {
    this.dispatchEvent(new CustomEvent("trouble", { detail: error }));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
