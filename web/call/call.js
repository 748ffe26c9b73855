// The group call on real ground: its socket, its connections, its clock. It does what the state machine says and
// nothing of its own accord.

import { RpcError } from "../rpc.js";
import { GroupCall } from "./group-call.js";
import { Peer } from "./peer.js";
import { P2P_STREAM } from "./p2p.js";
import { sourceOf } from "./streams.js";

/**
 * @typedef {object} CallOwner
 * @property {string} userId
 * @property {string} confId
 * @property {import("../rpc.js").Rpc} rpc
 * @property {(source: import("./streams.js").Source) => {audio: MediaStreamTrack|null, video: MediaStreamTrack|null}} tracks
 *   one's own that are to be sent now
 * @property {(key: string) => void} onTrouble something to tell the reader: a catalogue key
 * @property {() => void} onChange
 */

/** Owns the socket, one peer for each stream and all timers; the machine owns what they mean. */
export class Call {
  /** Received media, by stream; after a cut the former media until there is new media. @type {Map<string, MediaStream>} */
  received = new Map();

  #machine;
  /** @type {WebSocket|null} */
  #socket = null;
  /** @type {Map<string, Peer>} */
  #peers = new Map();
  /** @type {Map<string, any>} */
  #timers = new Map();

  /** @param {CallOwner} owner */
  constructor(owner) {
    this.owner = owner;
    this.#machine = new GroupCall({ self: owner.userId, room: owner.confId });
  }

  get phase() {
    return this.#machine.phase;
  }

  /** A direct connection needs no gateway. */
  get problem() {
    const { problem, p2p, streams } = this.#machine;
    return p2p.link?.isConnected ? null : (problem ?? (streams.hasNoPath ? "banner.noPath" : null));
  }

  get speaker() {
    return this.#machine.speaker;
  }

  get forwarded() {
    return this.#machine.forwarded;
  }

  /** The phase of each stream that is there. @returns {Map<string, import("./stream-link.js").Phase>} */
  get phases() {
    const { streams, p2p } = this.#machine;
    const links = p2p.link ? [p2p.link] : [...streams.links.values()];
    return new Map(links.map(({ name, phase }) => [name, phase]));
  }

  /** Whether media takes the direct connection. */
  get isStraight() {
    return this.#machine.p2p.isOn;
  }

  start() {
    this.#step({ is: "start" });
  }

  stop() {
    this.#step({ is: "stop" });
  }

  /** The conference has another gateway now, or one fewer. @param {{from?: string|null, to: string|null}} change */
  changed({ from, to }) {
    this.#step({ is: "changed", from, to });
  }

  /** @param {import("./streams.js").Source} source @param {boolean} isWanted */
  publish(source, isWanted) {
    this.#step({ is: "publish", source, isWanted });
  }

  /** The size in pixels at which a stream is shown; 0 x 0: not at all. @param {string} stream @param {number} width @param {number} height */
  view(stream, width, height) {
    this.#step({ is: "view", stream, width, height });
  }

  /** One's own track is another now. @param {string} stream @param {"audio"|"video"} kind @param {MediaStreamTrack|null} track */
  replace(stream, kind, track) {
    const peer = this.#peers.get(stream) ?? (sourceOf(stream) === "camera" ? this.#peers.get(P2P_STREAM) : undefined);
    peer?.replace(kind, track);
  }

  /** @param {{is: string, [detail: string]: any}} input */
  #step(input) {
    for (const action of this.#machine.step(input)) this.#perform(action);
    this.owner.onChange();
  }

  /** @param {any} action */
  #perform(action) {
    switch (action.do) {
      case "allocate": return void this.#allocate();
      case "connect": return this.#connect(action);
      case "disconnect": return this.#disconnect();
      case "send": return this.#send(action.message);
      case "open": return void this.#open(action);
      case "respond": return void this.#respond(action);
      case "answer": return void this.#answer(action);
      case "candidate": return void this.#peers.get(action.stream)?.candidate(action.candidate);
      case "close": return this.#close(action.stream);
      case "forget": return void this.received.delete(action.stream);
      case "timer": return this.#timer(action.name, action.ms);
      case "clear": return this.#clear(action.name);
      case "tell": return this.owner.onTrouble(action.key);
      default: return this.#report(action);
    }
  }

  async #allocate() {
    const { rpc, confId } = this.owner;
    try {
      this.#step({ is: "allocated", gateway: await rpc.call("callgw.allocate", { confId }) });
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      this.#step({ is: "notAllocated", problem: error.key, retryAfterMs: error.data.retryAfterMs });
    }
  }

  /** @param {{url: string, token: string}} where */
  #connect({ url, token }) {
    this.#disconnect();
    const socket = new WebSocket(url, ["confgate", `bearer.${token}`]);
    this.#socket = socket;
    const isCurrent = () => socket === this.#socket;
    socket.onopen = () => isCurrent() && this.#step({ is: "opened" });
    socket.onmessage = ({ data }) => {
      const message = parse(data);
      if (isCurrent() && message) this.#step({ is: "message", message });
    };
    socket.onclose = ({ code }) => {
      if (!isCurrent()) return;
      this.#socket = null;
      this.#step({ is: "closed", code });
    };
  }

  #disconnect() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
  }

  /** @param {object} message */
  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** @param {{stream: string, generation: number, direction: "send"|"receive"|"both", iceServers: RTCIceServer[], of?: string, codec?: string|null}} what */
  async #open(what) {
    const { stream, direction, codec } = what;
    const { peer, about } = this.#makePeer(what);
    try {
      if (direction === "receive") peer.receive();
      else if (direction === "both") peer.exchange(this.owner.tracks("camera"));
      else peer.send(sourceOf(stream), this.owner.tracks(sourceOf(stream)), codec);
      about("offer", { sdp: await peer.offer() });
    } catch (error) {
      this.#failed(peer, error, () => about("lost", { problem: "offerFailed" }));
    }
  }

  /** @param {{stream: string, generation: number, iceServers: RTCIceServer[], of: string, sdp: string}} what */
  async #respond(what) {
    const { peer, about } = this.#makePeer(what);
    try {
      const tracks = what.stream === P2P_STREAM ? () => this.owner.tracks("camera") : null;
      about("response", { sdp: await peer.respond(what.sdp, tracks) });
    } catch (error) {
      this.#failed(peer, error, () => about("lost", { problem: "offerRefused" }));
    }
  }

  /** A connection in the place of a former one. @param {{stream: string, generation: number, iceServers: RTCIceServer[], of?: string}} what */
  #makePeer({ stream, generation, iceServers, of = stream }) {
    this.#close(stream);
    const about = (/** @type {string} */ is, /** @type {object} */ rest = {}) => this.#step({ is, stream, generation, ...rest });
    const peer = new Peer(iceServers, {
      onCandidate: (candidate) => about("ourCandidate", { candidate }),
      onGathered: () => stream === P2P_STREAM && about("gathered"),
      onState: (state) => about(state === "failed" ? "lost" : state, { problem: "iceFailed" }),
      onMedia: (received) => {
        if (this.#peers.get(stream) !== peer) return;
        this.received.set(of, received);
        about("media");
      },
    });
    this.#peers.set(stream, peer);
    return { peer, about };
  }

  /** @param {{stream: string, generation: number, sdp: string}} what */
  async #answer({ stream, generation, sdp }) {
    const peer = this.#peers.get(stream);
    try {
      await peer?.answer(sdp);
    } catch (error) {
      this.#failed(peer, error, () => this.#step({ is: "lost", stream, generation, problem: "answerRefused" }));
    }
  }

  /** A connection that was closed in the middle of something throws too, and that is nothing. @param {Peer|undefined} peer @param {unknown} error @param {() => void} tell */
  #failed(peer, error, tell) {
    if (!peer || ![...this.#peers.values()].includes(peer)) return;
    console.warn("a media connection failed:", error);
    tell();
  }

  /** @param {string} stream */
  #close(stream) {
    this.#peers.get(stream)?.close();
    this.#peers.delete(stream);
  }

  /** @param {string} name @param {number} ms */
  #timer(name, ms) {
    this.#clear(name);
    this.#timers.set(name, setTimeout(() => {
      this.#timers.delete(name);
      this.#step({ is: "timer", name });
    }, ms));
  }

  /** @param {string} name */
  #clear(name) {
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }

  /** Best effort: a gateway that can't be told has other troubles. @param {{problem: string, gatewayId: string}} trouble */
  #report({ problem, gatewayId }) {
    const { rpc, confId } = this.owner;
    rpc.call("callgw.report", { confId, gatewayId, problem }).catch(() => {});
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
