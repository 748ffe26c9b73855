// The direct connection of a call between two, as a pure part of the group call's state machine. The
// gateway only passes on what the two browsers say to each other. Whatever goes wrong with it, media goes through the
// gateway from then on; the call doesn't notice.

import { StreamLink } from "./stream-link.js";

/** The connection's name among streams; no user's name has a colon. */
export const P2P_STREAM = "p2p:";

/** Until the other's browser has said its part. */
const SIGNAL_TIMEOUT_MS = 8_000;
/** From then on until ICE and DTLS are done. */
const CONNECT_TIMEOUT_MS = 10_000;
/** A connection that ICE calls disconnected often is back within a second or two. */
const INTERRUPTION_MS = 4_000;
/** How long a connection that works is kept whose other side has lost the gateway, or both have. */
const ABSENCE_MS = 10_000;

/**
 * @typedef {object} P2pOwner
 * @property {(action: import("./group-call.js").Action) => void} act
 * @property {(reason: "iceFailed"|"unable") => void} giveUp media is to go through the gateway
 */

/** Owner: the group call, which says whether it is on and who is there. */
export class P2pConnection {
  /** Whether the gateway passes anything on. */
  isOn = false;
  /** The other isn't at the gateway, though media flows. */
  #isAbsent = false;
  /** The other, while there is a connection to them or one to come. @type {StreamLink|null} */
  link = null;
  /** @type {RTCIceServer[]} */
  #iceServers = [];
  /** Whether this browser has an address from which UDP goes out. */
  #hasUdp = false;

  /** @param {P2pOwner} owner */
  constructor(owner) {
    this.owner = owner;
  }

  /** The second to arrive offers: the first is told of them before. @param {RTCIceServer[]} iceServers @param {string[]} names who is there */
  start(iceServers, [name]) {
    this.isOn = true;
    this.#iceServers = stunOnly(iceServers);
    const { link } = this;
    if (link?.isConnected && name === link.name) return this.#present();
    if (link?.isConnected && !name) return this.#absent();
    this.#close();
    if (name) this.#open(name, "offer");
  }

  /** The gateway is lost for a while: a connection that works needs it not. */
  pause() {
    if (!this.link?.isConnected) return this.stop();
    this.isOn = false;
    this.owner.act({ do: "clear", name: "p2p" });
  }

  stop() {
    this.#close();
    this.isOn = false;
  }

  /** They will offer. @param {string} name */
  arrived(name) {
    if (!this.isOn) return;
    if (this.link?.isConnected && this.link.name === name) return this.#present();
    this.#close();
    this.link = new StreamLink(name, "receive");
    this.#await(SIGNAL_TIMEOUT_MS);
  }

  /** @param {string} name */
  left(name) {
    if (this.link?.name !== name) return;
    if (this.link.isConnected) this.#absent();
    else this.#close();
  }

  #absent() {
    this.#isAbsent = true;
    this.#await(ABSENCE_MS);
  }

  #present() {
    this.#isAbsent = false;
    this.owner.act({ do: "clear", name: "p2p" });
  }

  /** @param {string} name @param {"offer"|"respond"} part @param {string} [sdp] the other's offer */
  #open(name, part, sdp) {
    this.link ??= new StreamLink(name, "receive");
    const { link } = this;
    link.open();
    this.#hasUdp = false;
    const { generation } = link;
    const action = { do: part === "offer" ? "open" : "respond", stream: P2P_STREAM, of: name, generation, direction: "both", iceServers: this.#iceServers, sdp };
    this.owner.act(/** @type {import("./group-call.js").Action} */ (action));
    this.#await(SIGNAL_TIMEOUT_MS);
  }

  #close() {
    if (!this.link) return;
    this.link = null;
    this.#isAbsent = false;
    this.owner.act({ do: "clear", name: "p2p" });
    this.owner.act({ do: "close", stream: P2P_STREAM });
  }

  /** @param {number} ms */
  #await(ms) {
    this.owner.act({ do: "timer", name: "p2p", ms });
  }

  /** Nothing came in time. */
  timeout() {
    if (this.#isAbsent) this.#close();
    else if (this.link) this.owner.giveUp(this.link.isAnswered ? "iceFailed" : "unable");
  }

  /** The other's browser says something. @param {{from?: unknown, description?: any, candidate?: any}} signal */
  onSignal({ from, description, candidate }) {
    const { link } = this;
    if (!this.isOn || !link || link.name !== from) return;
    const { name, generation } = link;
    // Also in the place of one that the other has no more.
    if (description?.type === "offer") this.#open(name, "respond", description.sdp);
    else if (description?.type === "answer" && link.awaitsAnswer) {
      this.owner.act({ do: "answer", stream: P2P_STREAM, generation, sdp: description.sdp });
      this.#agreed(link);
    } else if (candidate) {
      this.#candidates(link, link.theirCandidate(candidate));
    }
  }

  /** Both descriptions are there: candidates can be taken. @param {StreamLink} link */
  #agreed(link) {
    this.#candidates(link, link.answered());
    this.#await(CONNECT_TIMEOUT_MS);
  }

  /** @param {StreamLink} link @param {object[]} candidates */
  #candidates({ generation }, candidates) {
    for (const candidate of candidates) this.owner.act({ do: "candidate", stream: P2P_STREAM, generation, candidate });
  }

  /** Handles an event of the connection; events of a former connection are stale. @param {any} input */
  ofStream(input) {
    const { link } = this;
    if (!link?.isOpen || link.generation !== input.generation) return;
    switch (input.is) {
      case "offer": return this.#describe(link, "offer", input.sdp);
      case "response": this.#describe(link, "answer", input.sdp); return this.#agreed(link);
      case "ourCandidate": return this.#found(link, input.candidate);
      // Browsers take no TCP connections: without UDP there is nothing to wait for.
      case "gathered": return this.#hasUdp || link.isConnected ? undefined : this.owner.giveUp("unable");
      case "connected": link.connected(); return this.owner.act({ do: "clear", name: "p2p" });
      case "interrupted": link.interrupted(); return this.isOn ? this.#await(INTERRUPTION_MS) : undefined;
      case "lost": return !this.isOn || this.#isAbsent ? this.#close() : this.owner.giveUp(input.problem === "iceFailed" ? "iceFailed" : "unable");
      case "media": return link.media();
      default: throw new TypeError(`no such input: ${input.is}`);
    }
  }

  /** @param {StreamLink} link @param {"offer"|"answer"} type @param {string} sdp */
  #describe(link, type, sdp) {
    this.#send(link, { description: { type, sdp } });
    this.#sendSignals(link, link.offered());
  }

  /** @param {StreamLink} link @param {{candidate: string}} candidate */
  #found(link, candidate) {
    this.#hasUdp ||= isUdp(candidate);
    this.#sendSignals(link, link.ourCandidate(candidate));
  }

  /** @param {StreamLink} link @param {object[]} candidates */
  #sendSignals(link, candidates) {
    for (const candidate of candidates) this.#send(link, { candidate });
  }

  /** @param {StreamLink} link @param {object} signal */
  #send({ name }, signal) {
    this.owner.act({ do: "send", message: { id: "signal", to: name, ...signal } });
  }
}

/** RFC 8839 section 5.1: foundation, component, transport. @param {{candidate: string}} candidate */
function isUdp({ candidate }) {
  return candidate.split(" ")[2]?.toLowerCase() === "udp";
}

/**
 * A relay between two browsers is what the gateway is there for; TURN servers say what one's address is, too (RFC 8656
 * is an extension of STUN).
 * @param {any[]} iceServers
 */
export function stunOnly(iceServers) {
  const urls = iceServers.flatMap((server) => server.urls ?? []);
  const stun = urls.filter((url) => /^(stun|turn):/.test(url)).map((url) => url.replace(/^turn:/, "stun:").replace(/\?.*$/, ""));
  return stun.length ? [{ urls: [...new Set(stun)] }] : [];
}
