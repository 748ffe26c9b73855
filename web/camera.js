// One's own camera, shown to oneself. Optional: where it can't be had, everything else works.

export class LocalCamera {
  /** @type {MediaStream|null} */
  stream = null;
  #isWanted = false;

  /** @param {() => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
  }

  /** @returns {Promise<boolean>} whether there is a picture */
  async open() {
    if (this.#isWanted) return true;
    this.#isWanted = true;
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { aspectRatio: 16 / 9, width: { ideal: 1280 } } });
      if (this.#isWanted) this.#use(stream);
      else stop(stream); // closed while the browser was still asking
      return true;
    } catch {
      return false; // refused, missing, in use, or an insecure context
    }
  }

  close() {
    this.#isWanted = false;
    if (this.stream) stop(this.stream);
    this.stream = null;
  }

  /** @param {MediaStream} stream */
  #use(stream) {
    this.stream = stream;
    stream.getVideoTracks()[0]?.addEventListener("ended", () => {
      if (this.stream === stream) this.stream = null;
      this.onChange();
    });
    this.onChange();
  }
}

/** @param {MediaStream} stream */
function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}
