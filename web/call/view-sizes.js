// How large each stream is shown, so that the gateway sends no more than that.

/** A window is dragged and a list scrolled in many small steps; only where they end counts. */
const SETTLE_MS = 250;

/**
 * The size, in pixels of the screen, that serves all places where a stream is shown.
 * @param {{width: number, height: number, isSeen: boolean}[]} places in CSS pixels
 * @param {number} ratio pixels of the screen for one CSS pixel
 */
export function sizeFor(places, ratio) {
  const seen = places.filter(({ isSeen }) => isSeen);
  const largest = (/** @type {"width"|"height"} */ side) => Math.round(Math.max(0, ...seen.map((place) => place[side])) * ratio);
  return { width: largest("width"), height: largest("height") };
}

/** Owner: `Media`. Watches the tiles. */
export class ViewSizes {
  /** @type {Map<Element, {stream: string, width: number, height: number, isSeen: boolean}>} */
  #places = new Map();
  /** Streams that were told of. @type {Set<string>} */
  #reported = new Set();
  #timer = 0;
  #resizes = new ResizeObserver((entries) => this.#resized(entries));
  #sights = new IntersectionObserver((entries) => this.#seen(entries));
  #measureSoon = () => this.#soon();

  /** @param {(stream: string, width: number, height: number) => void} report */
  constructor(report) {
    this.report = report;
    document.addEventListener("visibilitychange", this.#measureSoon);
  }

  /** @param {Element} element @param {string} stream */
  watch(element, stream) {
    this.#places.set(element, { stream, width: 0, height: 0, isSeen: false });
    this.#resizes.observe(element);
    this.#sights.observe(element);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#resizes.disconnect();
    this.#sights.disconnect();
    document.removeEventListener("visibilitychange", this.#measureSoon);
  }

  /** @param {ResizeObserverEntry[]} entries */
  #resized(entries) {
    for (const { target, contentRect } of entries) {
      const place = this.#places.get(target);
      if (!place) continue;
      place.width = contentRect.width;
      place.height = contentRect.height;
      if (!target.isConnected) this.#forget(target);
    }
    this.#soon();
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #seen(entries) {
    for (const { target, isIntersecting } of entries) {
      const place = this.#places.get(target);
      if (place) place.isSeen = isIntersecting;
    }
    this.#soon();
  }

  /** @param {Element} element */
  #forget(element) {
    this.#resizes.unobserve(element);
    this.#sights.unobserve(element);
    this.#places.delete(element);
  }

  #soon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#tellAll(), SETTLE_MS);
  }

  #tellAll() {
    const isHidden = document.visibilityState === "hidden";
    const places = [...this.#places.values()];
    for (const { stream } of places) this.#reported.add(stream);
    for (const stream of this.#reported) {
      const here = isHidden ? [] : places.filter((place) => place.stream === stream);
      const { width, height } = sizeFor(here, devicePixelRatio);
      this.report(stream, width, height);
      if (!places.some((place) => place.stream === stream)) this.#reported.delete(stream);
    }
  }
}
