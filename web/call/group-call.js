// A member's part in a group call, as a pure state machine: what happened goes in, what is to be done comes out. It
// speaks Kurento's group-call messages (one connection for each stream) and holds no socket, connection or clock.

import { Backoff, jittered } from "../backoff.js";
import { P2P_STREAM, P2pConnection } from "./p2p.js";
import { StreamSet } from "./stream-set.js";

/** Why a gateway closes a socket. */
export const CLOSE = { token: 4001, expelled: 4003, over: 4004, tooMany: 4008, replaced: 4009 };
/** After these one does not come back by oneself. */
const FINAL = new Set([CLOSE.expelled, CLOSE.over, CLOSE.replaced]);

/** Until a socket is open and the room is entered. */
const JOIN_TIMEOUT_MS = 5_000;
/** Everybody of a conference moves at the same moment: spread over this. */
const SPREAD_MS = 400;
/** A room entered for so long resets the back-off. */
const STABLE_MS = 5_000;

/**
 * `respond`: make a connection that answers the other's offer. `of`: whose media it carries. `tell`: something to tell
 * the reader, a catalogue key.
 * `allocate`: ask for a gateway, answered by `allocated` or `notAllocated`. `connect`: open a socket. `open`: make a
 * connection for a stream; it takes the place of a former one. `forget`: the stream is gone, its picture too.
 * @typedef {{do: "allocate"} | {do: "connect", url: string, token: string} | {do: "disconnect"} | {do: "send", message: object} |
 *   {do: "open", stream: string, generation: number, direction: "send"|"receive"|"both", iceServers: RTCIceServer[], of?: string, codec?: string|null} |
 *   {do: "respond", stream: string, generation: number, iceServers: RTCIceServer[], of: string, sdp: string} |
 *   {do: "answer", stream: string, generation: number, sdp: string} |
 *   {do: "candidate", stream: string, generation: number, candidate: object} | {do: "close", stream: string} |
 *   {do: "forget", stream: string} | {do: "timer", name: string, ms: number} | {do: "clear", name: string} |
 *   {do: "tell", key: string} | {do: "report", problem: string, gatewayId: string}} Action
 * @typedef {{gatewayId: string, url: string, token: string, mode?: "group"|"p2p", iceServers?: RTCIceServer[], fallbacks?: string[]}} Allocation
 */

/**
 * Owner: the shell `Call`, which alone calls `step` and does what comes back, in order.
 * Phases: `off` -> `allocating` -> `connecting` -> `joined`; `paused` before another try; `ended` for good.
 */
export class GroupCall {
  /** @type {"off"|"allocating"|"connecting"|"joined"|"paused"|"ended"} */
  phase = "off";
  /** The last problem, until the room is entered: a refusal's key or an error's code. @type {string|null} */
  problem = null;
  /** The active speaker. @type {string|null} */
  speaker = null;
  /** The tracks of one's own media that are forwarded to the others. */
  forwarded = { audio: true, video: true };

  /** The participants of the room, as the gateway reports them: streams' names. @type {Set<string>} */
  #present = new Set();
  /** @type {Allocation|null} */
  #gateway = null;
  /** Addresses not yet tried. @type {string[]} */
  #addresses = [];
  #reported = new Set();
  #backoff;
  #random;
  /** @type {Action[]} */
  #actions = [];

  /** @param {{self: string, room: string, random?: () => number}} options */
  constructor({ self, room, random = Math.random }) {
    this.self = self;
    this.room = room;
    this.#random = random;
    this.#backoff = new Backoff({ baseMs: 300, maxMs: 4_000, random });
    this.streams = new StreamSet({ self, random }, {
      act: (action) => this.#act(action),
      report: (problem) => this.#report(problem),
      giveUp: () => this.#restart(this.#backoff.next()),
    });
    this.p2p = new P2pConnection({
      act: (action) => this.#act(action),
      giveUp: (reason) => this.#relay(reason),
    });
  }

  /** The gateway that one is at, or on the way to. */
  get gatewayId() {
    return this.#gateway?.gatewayId ?? null;
  }

  /** @param {{is: string, [detail: string]: any}} input @returns {Action[]} */
  step(input) {
    this.#take(input);
    return this.#actions.splice(0);
  }

  /** @param {any} input */
  #take(input) {
    switch (input.is) {
      case "start": return this.#start();
      case "stop": return this.#stop();
      case "changed": return this.#changed(input.to, input.from);
      case "allocated": return this.#allocated(input.gateway);
      case "notAllocated": return this.#notAllocated(input);
      case "opened": return this.#send({ id: "joinRoom", name: this.self, room: this.room });
      case "closed": return this.#closed(input.code);
      case "message": return this.#onMessage(input.message);
      case "publish": return this.#publish(input.source, input.isWanted);
      case "view": return this.streams.view(input.stream, input.width, input.height);
      case "timer": return this.#timer(input.name);
      default: return input.stream === P2P_STREAM ? this.p2p.ofStream(input) : this.streams.ofStream(input);
    }
  }

  /** A screen is shared through the gateway. @param {"camera"|"screen"} source @param {boolean} isWanted */
  #publish(source, isWanted) {
    this.streams.publish(source, isWanted);
    if (source === "screen" && isWanted && this.p2p.isOn) this.#relay("screen");
  }

  // The way to a gateway

  #start() {
    if (this.phase === "off" || this.phase === "ended") this.#allocate();
  }

  #stop() {
    if (this.phase === "joined") this.#send({ id: "leaveRoom" });
    this.streams.dropAll();
    this.#disconnect("off");
  }

  #allocate() {
    this.phase = "allocating";
    this.#act({ do: "allocate" });
  }

  /** @param {Allocation} gateway */
  #allocated(gateway) {
    if (this.phase !== "allocating") return;
    if (gateway.gatewayId !== this.gatewayId) this.#reported.clear();
    this.#gateway = gateway;
    this.#addresses = [gateway.url, ...(gateway.fallbacks ?? [])];
    this.#connect();
  }

  /** Every reason may pass: a former member is told of its removal elsewhere. @param {{problem: string, retryAfterMs?: number}} refusal */
  #notAllocated({ problem, retryAfterMs = 0 }) {
    if (this.phase !== "allocating") return;
    this.problem = problem;
    this.#restart(Math.max(retryAfterMs, this.#backoff.next()));
  }

  #connect() {
    const url = this.#addresses.shift();
    if (!url || !this.#gateway) return this.#restart(this.#backoff.next());
    this.phase = "connecting";
    this.#act({ do: "connect", url, token: this.#gateway.token });
    this.#act({ do: "timer", name: "join", ms: JOIN_TIMEOUT_MS });
  }

  /** The gateway's socket is closed, or can't be opened. @param {number} code */
  #closed(code) {
    if (this.phase !== "connecting" && this.phase !== "joined") return;
    if (FINAL.has(code)) return this.#disconnect("ended");
    const wasConnecting = this.phase === "connecting";
    if (wasConnecting && code !== CLOSE.token && code !== CLOSE.tooMany) {
      this.#report("connectFailed");
      this.#act({ do: "clear", name: "join" });
      return this.#connect();
    }
    if (code !== CLOSE.token && !wasConnecting) this.#report("closed");
    this.#restart(this.#backoff.next());
  }

  /**
   * Another gateway has the conference now; or, where it is at several, one fewer has.
   * @param {string|null} [to] @param {string|null} [from]
   */
  #changed(to, from) {
    if (["off", "ended", "allocating"].includes(this.phase)) return;
    const isElsewhere = (from && from !== this.gatewayId) || (to && to === this.gatewayId);
    if (isElsewhere && this.phase === "joined") return;
    this.#backoff.reset();
    this.#restart(jittered(SPREAD_MS / 2, 1, this.#random));
  }

  /** Asks for a gateway again, a little later; what was shown stays. @param {number} ms */
  #restart(ms) {
    this.#disconnect("paused");
    this.#act({ do: "timer", name: "retry", ms });
  }

  /** @param {"off"|"paused"|"ended"} phase */
  #disconnect(phase) {
    this.phase = phase;
    this.speaker = null;
    for (const name of ["join", "retry", "stable", "mode"]) this.#act({ do: "clear", name });
    this.#act({ do: "disconnect" });
    if (phase === "paused") this.p2p.pause();
    else this.p2p.stop();
    this.streams.pause();
  }

  /** @param {string} name */
  #timer(name) {
    if (name === "retry" && this.phase === "paused") return this.#allocate();
    if (name === "mode" && this.phase === "joined") return this.#through(); // one that doesn't know of it
    if (name === "p2p") return this.p2p.timeout();
    if (name === "stable") return this.#backoff.reset();
    if (name === "join") {
      this.#report("joinTimeout");
      this.#act({ do: "disconnect" });
      return this.#connect();
    }
    const [, kind, stream] = /^(\w+):(.*)$/.exec(name) ?? [];
    if (kind) this.streams.timer(kind, stream);
  }

  // Messages of the gateway

  /** @param {any} message */
  #onMessage(message) {
    if (this.phase !== "connecting" && this.phase !== "joined") return;
    switch (message.id) {
      case "existingParticipants": return this.#joined(message.data);
      case "newParticipantArrived": return this.#arrived(message.name);
      case "participantLeft": return this.#left(message.name);
      case "mode": return this.#modeSaid(message.mode);
      case "signal": return this.p2p.onSignal(message);
      case "receiveVideoAnswer": return this.streams.answered(message.name, message.sdpAnswer);
      case "receiveVideoOffer": return this.streams.offered(message.name, message.sdpOffer);
      case "iceCandidate": return this.streams.theirCandidate(message.name, message.candidate);
      case "speaker": this.speaker = message.name ?? null; return undefined;
      case "enforce": this.forwarded = { audio: message.audio !== false, video: message.video !== false }; return undefined;
      case "preferCodec": return this.streams.preferCodec(message.name, message.codec);
      case "moved": return this.#changed();
      case "error": return this.#refused(message);
      default: return undefined; // a newer gateway's: nothing that this page could do
    }
  }

  /** @param {unknown} names */
  #joined(names) {
    if (this.phase !== "connecting") return;
    this.phase = "joined";
    this.problem = null;
    this.forwarded = { audio: true, video: true };
    this.#reported.clear();
    this.#act({ do: "clear", name: "join" });
    this.#act({ do: "timer", name: "stable", ms: STABLE_MS });
    this.#present = new Set(Array.isArray(names) ? names : []);
    // Where a direct connection is allowed, the next message says whether it is used.
    if (this.#gateway?.mode !== "p2p") this.#through();
    else this.#act({ do: "timer", name: "mode", ms: JOIN_TIMEOUT_MS });
  }

  /** Media goes through the gateway: the direct connection's last picture stays until there is a new one. */
  #through() {
    this.p2p.stop();
    if (!this.streams.isJoined) this.streams.join(this.#gateway?.iceServers ?? [], [...this.#present]);
  }

  /** @param {unknown} mode */
  #modeSaid(mode) {
    if (this.phase !== "joined") return;
    this.#act({ do: "clear", name: "mode" });
    if (mode === "group") return this.#through();
    if (mode === "p2p" && !this.streams.isJoined) this.p2p.start(this.#gateway?.iceServers ?? [], [...this.#present].filter((name) => name !== this.self));
  }

  /** @param {string} reason */
  #relay(reason) {
    this.#send({ id: "mode", mode: "group", reason });
    this.#through();
  }

  /** @param {string} name */
  #arrived(name) {
    this.#present.add(name);
    this.p2p.arrived(name);
    this.streams.arrived(name);
  }

  /** @param {string} name */
  #left(name) {
    this.#present.delete(name);
    this.p2p.left(name);
    this.streams.left(name);
  }

  /** @param {{code?: string, name?: string}} error */
  #refused({ code, name }) {
    if (this.phase === "connecting") this.problem = code ?? null;
    if (name && code) this.streams.refused(name, code);
  }

  /** Once for each problem, gateway and attempt. @param {string} problem */
  #report(problem) {
    if (!this.gatewayId || this.#reported.has(problem)) return;
    this.#reported.add(problem);
    this.#act({ do: "report", problem, gatewayId: this.gatewayId });
  }

  /** @param {object} message */
  #send(message) {
    this.#act({ do: "send", message });
  }

  /** @param {Action} action */
  #act(action) {
    this.#actions.push(action);
  }
}
