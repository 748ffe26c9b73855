// Calls of a user who is signed in: calling somebody, being called, and what became of it. Listens on an event socket
// of its own, except while a conference has one. No DOM here; the screens listen and draw.

import { EventSocket } from "./socket.js";
import { RpcError } from "./rpc.js";
import { SingleTabLock } from "./single-tab-lock.js";
import { mergeCallees, calleesAfter } from "./callee-status.js";

/** Of those whom a group call rings too, so many are named to a callee. */
const NAMED = 3;
/** As many as a page of the address book has. */
const LARGEST_DEPARTMENT = 200;
/** With fewer others a group call doesn't go on when one hangs up. */
const LEAST_OTHERS = 2;

/**
 * @typedef {{userId: string, name: string}} Person
 * @typedef {{departmentId: string, name: string}} Department
 * @typedef {{people: Person[], department?: Department}} Whom one, several, or a department, whose people are found out
 * @typedef {object} PhoneCall
 * @property {string} callId
 * @property {string} confId
 * @property {Person|null} person who calls; of one's own call between two the callee; of several none
 * @property {boolean} withVideo
 * @property {boolean} isGroup
 * @property {string} name what the call is about, or ""
 * @property {Person[]} others who else is called, of a group call that one is called to
 * @property {import("./callee-status.js").Callee[]} called whom one's own call rings
 *
 * `outcome` of one's own call: `busy`, `declined` (with the callee's reason), `missed`, `failed`; of a group: `unanswered`, `failed`
 * @typedef {{call: PhoneCall, whom: Whom, outcome: string|null, reason: string}} Dialled
 */

/**
 * `change`: anything to draw is different. `enter`: a call is on, `detail` = PhoneCall: go into its conference.
 * `missed`: nobody here answered, `detail` = Person. `trouble`: a call could not be made or taken, `detail` = RpcError.
 * `absent`: somebody whom one's own call rang, and that goes on, doesn't come, `detail` = Callee.
 */
export class Phone extends EventTarget {
  /** Calls that ring here, the first first. @type {PhoneCall[]} */
  incoming = [];
  /** Group calls that go on without us, and that we may still come into. @type {PhoneCall[]} */
  ongoing = [];
  /** The call that is being made. @type {Dialled|null} */
  dialled = null;
  /** The call that we are in. @type {PhoneCall|null} */
  current = null;
  /** Whether another device has taken the user's event socket: it rings there. */
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
      onNotice: (method, params) => this.handleNotice(method, params),
      onState: () => this.#changed(),
      onEnd: (code) => this.#ended(code),
      onRefused: () => this.#reasonToRetry(),
    });
    this.lock = new SingleTabLock(rpc.session.userId ?? "", { onHeld: () => this.#listen(), onLost: () => this.#stopListening() });
  }

  /** Rings from now on. */
  start() {
    this.#isResting = false;
    if (this.lock.isHeld) this.#listen();
    else this.lock.wait();
  }

  /** A conference is entered: its own socket takes this one's place. */
  rest() {
    this.#isResting = true;
    this.dialled = null;
    this.lock.take();
    this.#changed();
  }

  stop() {
    this.#isResting = true;
    this.lock.release();
    this.#stopListening();
  }

  /** By the reader's own wish, after another device had taken over. */
  takeBack() {
    this.lock.take();
    if (this.lock.isHeld) this.#listen();
  }

  #listen() {
    if (this.#isResting) return;
    this.isElsewhere = false;
    this.rpc.socket = this.socket;
    this.socket.open();
    this.#changed();
  }

  #stopListening() {
    this.socket.close();
    if (this.rpc.socket === this.socket) this.rpc.socket = null;
    this.#forgetAll();
    this.#changed();
  }

  /** @param {number|"signedOut"} code */
  #ended(code) {
    if (this.rpc.socket === this.socket) this.rpc.socket = null;
    if (this.#isResting) return;
    this.isElsewhere = code !== "signedOut";
    this.#forgetAll();
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

  /** @param {Whom} whom @param {boolean} withVideo */
  async call(whom, withVideo) {
    if (this.dialled && !this.dialled.outcome) return;
    const { people, department } = whom;
    const isGroup = Boolean(department) || people.length > 1;
    /** @type {PhoneCall} */
    const call = {
      callId: "",
      confId: "",
      person: isGroup ? null : people[0],
      withVideo,
      isGroup,
      name: department?.name ?? "",
      others: [],
      called: mergeCallees([], people),
    };
    this.dialled = { call, whom, outcome: null, reason: "" };
    this.#early = [];
    this.#changed();
    if (department) void this.#findOut(call, department);
    const params = department ? { departmentId: department.departmentId, name: department.name } : { to: people.map(({ userId }) => userId) };
    const started = await this.#try("call.start", params);
    if (this.dialled?.call !== call) {
      if (started) await this.#try("call.cancel", { callId: started.callId }); // given up meanwhile
      return;
    }
    if (started) Object.assign(call, { callId: started.callId, confId: started.confId });
    else this.dialled = null;
    this.#changed();
    for (const [method, params] of this.#early.splice(0)) this.handleNotice(method, params);
  }

  /** Finds out the callees of a department's call. @param {PhoneCall} call @param {Department} department */
  async #findOut(call, { departmentId }) {
    try {
      const { users } = await this.rpc.call("org.contacts.users", { departmentId, limit: LARGEST_DEPARTMENT });
      call.called = mergeCallees(call.called, users.filter((/** @type {Person} */ { userId }) => userId !== this.rpc.session.userId));
      this.#changed();
    } catch {
      // Each is shown as soon as there is news of them.
    }
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
    if (this.dialled && !this.dialled.outcome) await this.cancel();
    const accepted = await this.#try("call.accept", { callId: call.callId });
    if (accepted) this.#enter({ ...call, confId: accepted.confId, withVideo });
  }

  /** @param {PhoneCall} call */
  async decline(call) {
    this.#forget(call.callId);
    // Before the server's word: the last one who declines ends the call.
    this.#addOngoing(call);
    if (!(await this.#try("call.decline", { callId: call.callId }))) this.#forget(call.callId);
  }

  /** We are no longer in it. @param {PhoneCall} call @param {number} others who still are, or 0 where it is no longer ours to come into */
  left(call, others) {
    if (this.current === call) this.current = null;
    if (others >= LEAST_OTHERS) this.#addOngoing(call);
  }

  /** News of calls, from one's own socket or a conference's. @param {string} method @param {any} params */
  handleNotice(method, params) {
    if (!method.startsWith("call.")) return;
    const news = method.slice("call.".length);
    if (news === "incoming") return void this.#rings(params);
    if (this.dialled && !this.dialled.call.callId) this.#early.push([method, params]);
    if (params.callId === this.dialled?.call.callId) return this.#onDialledEvent(news, params);
    if (params.callId === this.current?.callId) return this.#onCurrentEvent(news, params);
    const rang = this.incoming.find((call) => call.callId === params.callId);
    // Declined at this page, it is among those that go on already.
    if (rang || news !== "declined") this.#forget(params.callId);
    if (!rang) return;
    if (news === "missed" || news === "cancelled") this.dispatchEvent(new CustomEvent("missed", { detail: rang.person }));
    if (news === "missed" || news === "declined") this.#addOngoing(rang);
  }

  /** @param {{callId: string, confId: string, from: string, to?: string[], mode: string, name?: string}} params */
  async #rings({ callId, confId, from, to = [], mode, name = "" }) {
    if (this.incoming.some((call) => call.callId === callId)) return;
    const person = { userId: from, name: from };
    const others = to.filter((userId) => userId !== this.rpc.session.userId).map((userId) => ({ userId, name: userId }));
    const call = { callId, confId, person, withVideo: false, isGroup: mode === "group", name, others, called: [] };
    this.incoming = [...this.incoming, call];
    this.#changed();
    await Promise.all([person, ...others.slice(0, NAMED)].map(async (each) => (each.name = (await this.#nameOf(each.userId)) ?? each.userId)));
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

  /** @param {string} news @param {{userId?: string, from?: string, reason?: string}} params */
  #onDialledEvent(news, params) {
    const call = /** @type {Dialled} */ (this.dialled).call;
    const { reason = "" } = params;
    call.called = calleesAfter(call.called, news, params);
    if (news === "answered") return this.#enter(call);
    const isOver = news === "cancelled" || news === "ended";
    if (call.isGroup && !isOver) return this.#changed(); // it rings on for the others
    if (news === "declined") return this.#outcome(reason === "busy" ? "busy" : "declined", reason);
    this.#outcome(reason === "unanswered" || news === "missed" ? (call.isGroup ? "unanswered" : "missed") : "failed");
  }

  /** @param {string} news @param {{userId?: string, from?: string, reason?: string}} params */
  #onCurrentEvent(news, params) {
    const call = /** @type {PhoneCall} */ (this.current);
    if (call.called.length === 0) return; // somebody else's: the roster says who is in it
    const before = call.called;
    call.called = calleesAfter(before, news, params);
    const absent = call.called.find((each) => each.userId === params.userId && each.state !== "in");
    if (absent && call.called !== before) this.dispatchEvent(new CustomEvent("absent", { detail: absent }));
    this.#changed();
  }

  /** @param {string} outcome @param {string} [reason] */
  #outcome(outcome, reason = "") {
    if (this.dialled) this.dialled = { ...this.dialled, outcome, reason };
    this.#changed();
  }

  /** @param {PhoneCall} call */
  #enter(call) {
    this.dialled = null;
    this.current = call;
    this.dispatchEvent(new CustomEvent("enter", { detail: call }));
  }

  /** One may come into it later, or again. @param {PhoneCall} call */
  #addOngoing(call) {
    if (!call.isGroup) return;
    this.#forget(call.callId);
    this.ongoing = [...this.ongoing, call];
    this.#changed();
  }

  /** @param {string} callId */
  #forget(callId) {
    const others = (/** @type {PhoneCall[]} */ calls) => calls.filter((call) => call.callId !== callId);
    const [incoming, ongoing] = [others(this.incoming), others(this.ongoing)];
    const isChanged = incoming.length < this.incoming.length || ongoing.length < this.ongoing.length;
    Object.assign(this, { incoming, ongoing });
    if (isChanged) this.#changed();
  }

  #forgetAll() {
    this.incoming = [];
    this.ongoing = [];
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
