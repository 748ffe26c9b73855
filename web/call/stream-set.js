// All streams of a member's part in a group call: one's own that are published, the others' that are received. A pure
// part of the group call's state machine; see there.

import { jittered } from "../backoff.js";
import { StreamLink } from "./stream-link.js";
import { sourceOf, streamOf } from "./streams.js";

/** Until an offer is answered: the gateway answers at once, whether the other publishes yet or not. */
const ANSWER_TIMEOUT_MS = 8_000;
/** From the answer until ICE and DTLS are done. */
const CONNECT_TIMEOUT_MS = 12_000;
/** A connection that ICE calls disconnected often is back within a second or two. */
const INTERRUPTION_MS = 4_000;
/** How long a stream that was there may stay away until it is gone: at a move, everybody comes by themselves. */
const ABSENCE_MS = 10_000;
/** A refused offer is made again after this. */
const REFUSED_MS = 10_000;
/** One that was lost alone, after about this. */
const AGAIN_MS = 400;

/**
 * @typedef {object} StreamSetOwner
 * @property {(action: import("./group-call.js").Action) => void} act
 * @property {(problem: string) => void} report
 * @property {() => void} giveUp the gateway is of no use any more: another try from the start
 */

/** Owner: the group call. While it `isJoined`, each link has a connection or a timer that makes one. */
export class StreamSet {
  /** @type {Map<string, StreamLink>} */
  links = new Map();
  isJoined = false;
  /** No connection found a way to the gateway, since one was last there. */
  hasNoPath = false;

  /** @type {RTCIceServer[]} */
  #iceServers = [];
  /** Own streams that are to be published. @type {Set<string>} */
  #wanted = new Set();
  /** The sizes at which streams are shown, of those too that aren't there yet. @type {Map<string, {width: number, height: number}>} */
  #views = new Map();

  /** @param {{self: string, random: () => number}} member @param {StreamSetOwner} owner */
  constructor({ self, random }, { act, report, giveUp }) {
    this.self = self;
    this.random = random;
    this.act = act;
    this.report = report;
    this.giveUp = giveUp;
  }

  /** The room is entered, and these are in it. @param {RTCIceServer[]} iceServers @param {unknown[]} names */
  join(iceServers, names) {
    this.isJoined = true;
    this.#iceServers = iceServers;
    for (const stream of this.#wanted) this.#open(this.#link(stream, "send"));
    for (const name of names) this.arrived(name);
    for (const link of this.links.values()) if (!link.isOpen) this.#missing(link);
  }

  /** The gateway is left; what was shown stays. */
  pause() {
    this.isJoined = false;
    for (const link of this.links.values()) {
      this.#pause(link);
      link.codec = null; // the next gateway asks by itself
    }
  }

  dropAll() {
    for (const name of [...this.links.keys()]) this.drop(name);
  }

  /** @param {unknown} name */
  arrived(name) {
    if (typeof name !== "string" || this.#isOwn(name) || !this.isJoined) return;
    const link = this.#link(name, "receive");
    this.act({ do: "clear", name: `missing:${name}` });
    if (!link.isOpen) this.#open(link);
  }

  /** A screen that is no longer shared is gone; who leaves the room may be on the way to another gateway. @param {string} name */
  left(name) {
    const link = this.links.get(name);
    if (link?.direction !== "receive") return;
    if (sourceOf(name) === "screen") return this.drop(name);
    this.#pause(link);
    this.#missing(link);
  }

  /** @param {StreamLink} link */
  #missing({ name }) {
    this.act({ do: "timer", name: `missing:${name}`, ms: ABSENCE_MS });
  }

  /** @param {StreamLink} link */
  #pause(link) {
    const wasOpen = link.isOpen;
    link.pause();
    this.act({ do: "clear", name: `again:${link.name}` });
    if (wasOpen) this.#close(link);
  }

  /** @param {string} name */
  #isOwn(name) {
    return name === this.self || name === streamOf(this.self, "screen");
  }

  /** @param {string} name @param {unknown} sdp */
  answered(name, sdp) {
    const link = this.links.get(name);
    if (!link?.awaitsAnswer || typeof sdp !== "string") return;
    const { name: stream, generation } = link;
    this.act({ do: "clear", name: `answer:${stream}` });
    this.act({ do: "timer", name: `ice:${stream}`, ms: CONNECT_TIMEOUT_MS });
    this.act({ do: "answer", stream, generation, sdp });
    for (const candidate of link.answered()) this.act({ do: "candidate", stream, generation, candidate });
  }

  /** @param {string} name @param {object} theirs */
  theirCandidate(name, theirs) {
    const link = this.links.get(name);
    if (!link?.isOpen) return;
    const { name: stream, generation } = link;
    for (const candidate of link.theirCandidate(theirs)) this.act({ do: "candidate", stream, generation, candidate });
  }

  /** The gateway offers what it can't answer. @param {string} name @param {unknown} sdp */
  offered(name, sdp) {
    const link = this.links.get(name);
    if (!link?.awaitsOffer || typeof sdp !== "string") return;
    const { name: stream, generation } = link;
    this.act({ do: "respond", stream, generation, iceServers: this.#iceServers, of: stream, sdp });
  }

  /** The gateway refused something of the stream. @param {string} name @param {string} code */
  refused(name, code) {
    const link = this.links.get(name);
    if (!link?.isOpen) return;
    if (code === "noCommonCodec") return this.act({ do: "tell", key: link.direction === "send" ? "media.codecOfOurs" : "media.codecOfTheirs" });
    if (code === "iceFailed") return this.#lost(link, code);
    if (code === "payloadTypes" && link.direction === "receive" && !link.isOfferedByGateway) {
      link.isOfferedByGateway = true;
      this.#close(link);
      return this.#open(link);
    }
    link.fail();
    link.phase = "failed";
    this.#close(link);
    this.report(code);
    this.act({ do: "timer", name: `again:${name}`, ms: REFUSED_MS });
  }

  /** A viewer can't decode what is sent, and all of them decode this: it is offered anew. @param {unknown} name @param {unknown} codec */
  preferCodec(name, codec) {
    const link = typeof name === "string" ? this.links.get(name) : undefined;
    if (link?.direction !== "send" || typeof codec !== "string" || link.codec === codec || !this.isJoined) return;
    link.codec = codec;
    if (!link.isOpen) return;
    this.#close(link);
    this.#open(link);
  }

  /** @param {string} kind @param {string} stream */
  timer(kind, stream) {
    const link = this.links.get(stream);
    if (!link || !this.isJoined) return;
    if (kind === "answer" && (link.awaitsAnswer || link.awaitsOffer)) this.#unanswered(link);
    else if (kind === "ice" && link.isOpen && !link.isConnected) this.#lost(link, "iceFailed");
    else if (kind === "again" && !link.isOpen) this.#open(link);
    else if (kind === "missing" && !link.isOpen) this.drop(stream);
  }

  /** @param {"camera"|"screen"} source @param {boolean} isWanted */
  publish(source, isWanted) {
    const stream = streamOf(this.self, source);
    if (isWanted === this.#wanted.has(stream)) return;
    if (isWanted) {
      this.#wanted.add(stream);
      if (this.isJoined) this.#open(this.#link(stream, "send"));
    } else {
      this.#wanted.delete(stream);
      if (this.links.get(stream)?.isOpen) this.#send({ id: "cancelVideoFrom", sender: stream });
      this.drop(stream);
    }
  }

  /** @param {string} stream @param {"send"|"receive"} direction */
  #link(stream, direction) {
    let link = this.links.get(stream);
    if (!link) {
      link = new StreamLink(stream, direction);
      link.view = this.#views.get(stream) ?? null;
      this.links.set(stream, link);
    }
    return link;
  }

  /** @param {StreamLink} link */
  #open(link) {
    link.open();
    const { name: stream, generation, direction, codec } = link;
    this.act({ do: "clear", name: `ice:${stream}` });
    if (link.isOfferedByGateway) this.#send({ id: "receiveVideoFrom", sender: stream });
    else this.act({ do: "open", stream, generation, direction, iceServers: this.#iceServers, ...(codec && { codec }) });
    this.act({ do: "timer", name: `answer:${stream}`, ms: ANSWER_TIMEOUT_MS });
  }

  /** @param {string} stream */
  drop(stream) {
    const link = this.links.get(stream);
    if (!link) return;
    this.#close(link);
    this.links.delete(stream);
    for (const kind of ["again", "missing"]) this.act({ do: "clear", name: `${kind}:${stream}` });
    this.act({ do: "forget", stream });
  }

  /** @param {StreamLink} link */
  #close({ name }) {
    this.act({ do: "clear", name: `answer:${name}` });
    this.act({ do: "clear", name: `ice:${name}` });
    this.act({ do: "close", stream: name });
  }

  /** Handles an event of a stream's connection; events of a former connection are stale. @param {any} input */
  ofStream(input) {
    const link = this.links.get(input.stream);
    if (!link || !link.isOpen || link.generation !== input.generation || !this.isJoined) return;
    switch (input.is) {
      case "offer": return this.#offer(link, input.sdp);
      case "response": return this.#response(link, input.sdp);
      case "ourCandidate": return this.#ourCandidates(link, link.ourCandidate(input.candidate));
      case "connected": return this.#connected(link);
      case "interrupted": return this.#interrupted(link);
      case "lost": return this.#lost(link, input.problem);
      case "media": return link.media();
      default: throw new TypeError(`no such input: ${input.is}`);
    }
  }

  /** @param {StreamLink} link @param {string} sdpOffer */
  #offer(link, sdpOffer) {
    this.#send({ id: "receiveVideoFrom", sender: link.name, sdpOffer });
    this.#ourCandidates(link, link.offered());
    if (link.view) this.#send({ id: "view", sender: link.name, ...link.view });
  }

  /** @param {StreamLink} link @param {string} sdpAnswer */
  #response(link, sdpAnswer) {
    const { name: stream, generation } = link;
    this.act({ do: "clear", name: `answer:${stream}` });
    this.act({ do: "timer", name: `ice:${stream}`, ms: CONNECT_TIMEOUT_MS });
    this.#send({ id: "receiveVideoAnswer", sender: stream, sdpAnswer });
    this.#ourCandidates(link, link.offered());
    for (const candidate of link.answered()) this.act({ do: "candidate", stream, generation, candidate });
    if (link.view) this.#send({ id: "view", sender: stream, ...link.view });
  }

  /** @param {StreamLink} link @param {object[]} candidates */
  #ourCandidates({ name }, candidates) {
    for (const candidate of candidates) this.#send({ id: "onIceCandidate", candidate, name });
  }

  /** @param {StreamLink} link */
  #connected(link) {
    link.connected();
    this.hasNoPath = false;
    this.act({ do: "clear", name: `ice:${link.name}` });
  }

  /** @param {StreamLink} link */
  #interrupted(link) {
    link.interrupted();
    this.act({ do: "timer", name: `ice:${link.name}`, ms: INTERRUPTION_MS });
  }

  /** Without an answer, no later one could be told from that of a new offer: only a new socket helps. @param {StreamLink} link */
  #unanswered(link) {
    link.fail();
    this.report("answerTimeout");
    this.giveUp();
  }

  /** Alone in that, the stream is tried again; where nothing else flows either, the gateway is. @param {StreamLink} link @param {string} problem */
  #lost(link, problem) {
    this.report(problem);
    link.fail();
    this.#close(link);
    const doOthersFlow = [...this.links.values()].some(({ isConnected }) => isConnected);
    this.hasNoPath = problem === "iceFailed" && !doOthersFlow;
    if (!doOthersFlow || link.failures > 1) return this.giveUp();
    this.act({ do: "timer", name: `again:${link.name}`, ms: jittered(AGAIN_MS, 0.5, this.random) });
  }

  /** @param {string} stream @param {number} width @param {number} height */
  view(stream, width, height) {
    const former = this.#views.get(stream);
    if (former?.width === width && former.height === height) return;
    this.#views.set(stream, { width, height });
    const link = this.links.get(stream);
    if (!link) return;
    link.view = { width, height };
    if (this.isJoined && link.isOpen && link.isOffered) this.#send({ id: "view", sender: stream, width, height });
  }

  /** @param {object} message */
  #send(message) {
    this.act({ do: "send", message });
  }
}
