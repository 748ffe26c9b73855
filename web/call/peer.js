// One stream's RTCPeerConnection: it makes the offer, takes the answer, and tells what becomes of it.

import { withDtx } from "./sdp.js";

/**
 * Three sizes of a camera's picture, so that the gateway can give each viewer the one they show. Lowest first: it is
 * the one that stays when there is little bandwidth.
 */
const CAMERA = [
  { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 1_700_000 },
];
/** One size, for the one who is there. */
const FACE = [{ maxBitrate: 2_000_000 }];
/** Text must stay legible at every size. */
const SCREEN = [{ maxBitrate: 2_500_000, maxFramerate: 15 }];
/** Enough for speech in full band. */
const AUDIO = [{ maxBitrate: 40_000 }];

/**
 * @typedef {object} PeerOwner
 * @property {(candidate: object) => void} onCandidate
 * @property {() => void} onGathered there are no more candidates
 * @property {(state: "connected"|"interrupted"|"failed") => void} onState
 * @property {(stream: MediaStream) => void} onMedia the first packet of a track came
 */

export class Peer {
  /** The received media. */
  stream = new MediaStream();
  #connection;

  /**
   * @param {RTCIceServer[]} iceServers
   * @param {PeerOwner} owner
   */
  constructor(iceServers, owner) {
    this.#connection = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.#connection.onicecandidate = ({ candidate }) => candidate?.candidate && owner.onCandidate(candidate.toJSON());
    this.#connection.onicegatheringstatechange = () => this.#connection.iceGatheringState === "complete" && owner.onGathered();
    this.#connection.onconnectionstatechange = () => this.#stateChanged(owner);
    this.#connection.ontrack = ({ track }) => {
      this.stream.addTrack(track);
      if (!track.muted) owner.onMedia(this.stream);
      track.addEventListener("unmute", () => owner.onMedia(this.stream));
    };
  }

  /** @param {PeerOwner} owner */
  #stateChanged({ onState }) {
    const state = this.#connection.connectionState;
    if (state === "connected" || state === "failed") onState(state);
    else if (state === "disconnected") onState("interrupted");
  }

  /** To receive a member's sound and picture, whichever they send. */
  receive() {
    this.#connection.addTransceiver("audio", { direction: "recvonly" });
    prefer(this.#connection.addTransceiver("video", { direction: "recvonly" }));
  }

  /**
   * To send both kinds, each with a track or without: a track that comes later needs no new offer.
   * @param {import("./streams.js").Source} source
   * @param {{audio: MediaStreamTrack|null, video: MediaStreamTrack|null}} tracks
   * @param {string|null} [codec] the only one, by its name in SDP, where there is one that viewers need
   */
  send(source, { audio, video }, codec) {
    const pictures = source === "screen" ? SCREEN : CAMERA;
    this.#connection.addTransceiver(audio ?? "audio", { direction: "sendonly", sendEncodings: AUDIO });
    prefer(this.#connection.addTransceiver(video ?? "video", { direction: "sendonly", sendEncodings: pictures }), codec);
  }

  /** To send and to receive both kinds. @param {{audio: MediaStreamTrack|null, video: MediaStreamTrack|null}} tracks */
  exchange({ audio, video }) {
    this.#connection.addTransceiver(audio ?? "audio", { direction: "sendrecv", sendEncodings: AUDIO });
    prefer(this.#connection.addTransceiver(video ?? "video", { direction: "sendrecv", sendEncodings: FACE }));
  }

  /**
   * The answer to the other side's offer: to that of `exchange` with one's own tracks, else to receive only. A device
   * that opens in the meantime is sent, too: `tracks` is asked at the last moment, after which `replace` finds the sender.
   * @param {string} sdp @param {(() => {audio: MediaStreamTrack|null, video: MediaStreamTrack|null})|null} tracks
   * @returns {Promise<string>}
   */
  async respond(sdp, tracks) {
    await this.#connection.setRemoteDescription({ type: "offer", sdp });
    for (const transceiver of tracks ? this.#connection.getTransceivers() : []) {
      transceiver.direction = "sendrecv";
      await transceiver.sender.replaceTrack(tracks?.()[/** @type {"audio"|"video"} */ (transceiver.receiver.track.kind)] ?? null);
    }
    await this.#connection.setLocalDescription();
    return this.#connection.localDescription?.sdp ?? "";
  }

  /** @returns {Promise<string>} */
  async offer() {
    await this.#connection.setLocalDescription();
    return this.#connection.localDescription?.sdp ?? "";
  }

  /** @param {string} sdp */
  answer(sdp) {
    return this.#connection.setRemoteDescription({ type: "answer", sdp: withDtx(sdp) });
  }

  /** One that is of no use (another family, a name that can't be found) is no failure. @param {object} candidate */
  async candidate(candidate) {
    await this.#connection.addIceCandidate(candidate).catch(() => {});
  }

  /** Sends another track of the kind, or with null none. @param {"audio"|"video"} kind @param {MediaStreamTrack|null} track */
  replace(kind, track) {
    const sender = this.#connection.getTransceivers().find(({ receiver }) => receiver.track.kind === kind)?.sender;
    return sender?.replaceTrack(track);
  }

  close() {
    this.#connection.onicegatheringstatechange = null;
    this.#connection.onconnectionstatechange = null;
    this.#connection.close();
  }
}

/**
 * VP8 first: every browser sends it in several sizes. Or the one that is asked for and what repairs it; a browser that
 * hasn't got it offers as ever.
 * @param {RTCRtpTransceiver} transceiver
 * @param {string|null} [only]
 */
function prefer(transceiver, only) {
  const codecs = RTCRtpReceiver.getCapabilities("video")?.codecs ?? [];
  const of = (/** @type {string} */ name) => codecs.filter(({ mimeType }) => mimeType.toLowerCase() === `video/${name.toLowerCase()}`);
  const [first, rest] = only && of(only).length > 0 ? [of(only), of("rtx")] : [of("VP8"), codecs];
  transceiver.setCodecPreferences?.([...first, ...rest.filter((codec) => !first.includes(codec))]);
}
