// A microphone's level: how much of it is sent, and how loud it is just now.

/** Owner: `OwnMedia`. Made for one track, ended with it. */
export class MicrophoneLevel {
  #context = new AudioContext();
  #gain = this.#context.createGain();
  #meter = this.#context.createAnalyser();
  #destination = this.#context.createMediaStreamDestination();
  #samples;

  /** @param {MediaStreamTrack} track */
  constructor(track) {
    this.#meter.fftSize = 512;
    this.#samples = new Float32Array(this.#meter.fftSize);
    this.#context.createMediaStreamSource(new MediaStream([track])).connect(this.#gain).connect(this.#meter).connect(this.#destination);
  }

  /** The track to send. */
  get track() {
    return this.#destination.stream.getAudioTracks()[0];
  }

  /** Whether the browser lets it work: some want a press on the page first. */
  async isRunning() {
    if (this.#context.state !== "running") await Promise.race([this.#context.resume(), new Promise((resolve) => setTimeout(resolve, RESUME_MS))]);
    return this.#context.state === "running";
  }

  /** @param {number} percent 0 to 100 */
  set(percent) {
    this.#gain.gain.value = percent / 100;
  }

  /** How loud it is now, 0 to 1. */
  loudness() {
    this.#meter.getFloatTimeDomainData(this.#samples);
    const power = this.#samples.reduce((sum, sample) => sum + sample * sample, 0) / this.#samples.length;
    // -60 dB to 0 dB: what a person can tell apart.
    return Math.min(1, Math.max(0, 1 + (10 * Math.log10(power + 1e-9)) / 60));
  }

  close() {
    this.#context.close();
  }
}

/** A browser that refuses never answers. */
const RESUME_MS = 300;
