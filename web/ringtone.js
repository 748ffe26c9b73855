// Two soft notes every other second while somebody rings. Made here: nothing is loaded for it.

const PAUSE_MS = 2_000;
const NOTES = [
  { hertz: 660, at: 0 },
  { hertz: 880, at: 0.22 },
];
const NOTE_S = 0.2;
const VOLUME = 0.12;

export class Ringtone {
  /** @type {AudioContext|null} */
  #context = null;
  #timer = 0;

  /** Silent where the browser wants a press before any sound. */
  start() {
    if (this.#context || typeof AudioContext === "undefined") return;
    this.#context = new AudioContext();
    this.#ring();
    this.#timer = setInterval(() => this.#ring(), PAUSE_MS);
  }

  stop() {
    clearInterval(this.#timer);
    this.#context?.close();
    this.#context = null;
  }

  #ring() {
    const context = this.#context;
    if (!context || context.state !== "running") return;
    for (const { hertz, at } of NOTES) {
      const [tone, gain, begin] = [context.createOscillator(), context.createGain(), context.currentTime + at];
      tone.frequency.value = hertz;
      gain.gain.setValueAtTime(0, begin);
      gain.gain.linearRampToValueAtTime(VOLUME, begin + 0.03);
      gain.gain.linearRampToValueAtTime(0, begin + NOTE_S);
      tone.connect(gain).connect(context.destination);
      tone.start(begin);
      tone.stop(begin + NOTE_S);
    }
  }
}
