// One stream's connection to the call gateway, as far as it is bookkeeping: which attempt it is on, what waits for
// what, and what its tile says. No RTCPeerConnection here; the group call says when one is made.

/**
 * `connecting`: the first attempt. `waiting`: connected, nothing came yet. `live`: media flows. `reconnecting`: it was
 * connected before. `failed`: it was tried several times; it is still tried.
 * @typedef {"connecting"|"waiting"|"live"|"reconnecting"|"failed"} Phase
 */

/** So many attempts in a row that came to nothing are called a failure. */
const ATTEMPTS = 3;
/** Most candidates that wait for an offer or an answer: a browser has one for each address and protocol. */
const CANDIDATES = 64;

export class StreamLink {
  /** @type {Phase} */
  phase = "connecting";
  /** Counts the connections; what belongs to a former one is stale. */
  generation = 0;
  /** Whether there is a connection, made or being made. */
  isOpen = false;
  isConnected = false;
  /** Whether the gateway offers the stream, since it can't answer our offer. */
  isOfferedByGateway = false;
  /** The codec that the gateway asked for, by its name in SDP. @type {string|null} */
  codec = null;
  /** Attempts in a row that came to nothing. */
  failures = 0;
  /** The size in pixels at which the stream is shown, once known. @type {{width: number, height: number}|null} */
  view = null;
  #wasConnected = false;
  #hasMedia = false;
  #isOffered = false;
  #isAnswered = false;
  /** Ours, until the offer is sent: the gateway makes its end with the offer. @type {object[]} */
  #ours = [];
  /** The gateway's, until its answer is taken. @type {object[]} */
  #theirs = [];

  /** @param {string} name the stream's @param {"send"|"receive"} direction */
  constructor(name, direction) {
    this.name = name;
    this.direction = direction;
  }

  /** A new connection takes the place of the former. */
  open() {
    this.generation += 1;
    this.isOpen = true;
    this.isConnected = false;
    this.#hasMedia = false;
    this.#isOffered = false;
    this.#isAnswered = false;
    this.#ours = [];
    this.#theirs = [];
    if (this.failures < ATTEMPTS) this.phase = this.#wasConnected ? "reconnecting" : "connecting";
  }

  /** There is no connection for now, and another will follow. */
  pause() {
    this.isOpen = false;
    this.isConnected = false;
    if (this.phase === "live" || this.phase === "waiting") this.phase = "reconnecting";
  }

  /** An attempt came to nothing, or what it brought is lost. */
  fail() {
    this.pause();
    this.failures += 1;
    if (this.failures >= ATTEMPTS) this.phase = "failed";
  }

  /** The offer goes out now. @returns {object[]} our candidates that waited for it */
  offered() {
    this.#isOffered = true;
    return this.#ours.splice(0);
  }

  /** @param {object} candidate @returns {object[]} what may be sent now */
  ourCandidate(candidate) {
    if (this.#isOffered) return [candidate];
    if (this.#ours.length < CANDIDATES) this.#ours.push(candidate);
    return [];
  }

  /** Whether the gateway knows of this connection. */
  get isOffered() {
    return this.#isOffered;
  }

  get isAnswered() {
    return this.#isAnswered;
  }

  /** Whether an answer is what is due now. */
  get awaitsAnswer() {
    return this.isOpen && this.#isOffered && !this.#isAnswered;
  }

  /** Whether the gateway's offer is. */
  get awaitsOffer() {
    return this.isOpen && this.isOfferedByGateway && !this.#isOffered;
  }

  /** The answer is taken now. @returns {object[]} the gateway's candidates that waited for it */
  answered() {
    this.#isAnswered = true;
    return this.#theirs.splice(0);
  }

  /** @param {object} candidate @returns {object[]} what may be added now */
  theirCandidate(candidate) {
    if (this.#isAnswered) return [candidate];
    if (this.#theirs.length < CANDIDATES) this.#theirs.push(candidate);
    return [];
  }

  connected() {
    this.isConnected = true;
    this.#wasConnected = true;
    this.failures = 0;
    this.phase = this.#hasMedia || this.direction === "send" ? "live" : "waiting";
  }

  /** ICE lost its path, perhaps for a moment only. */
  interrupted() {
    this.isConnected = false;
    this.phase = "reconnecting";
  }

  /** The first packet came. */
  media() {
    this.#hasMedia = true;
    this.phase = "live";
  }
}
