// Building and updating elements. Text is only ever set as text: names and chat come from strangers.

import { currentLanguage, localize } from "./i18n.js";

/**
 * An element. Attributes by name; besides: `class`, `on: {event: listener}`, `data: {name: value}`, and translated ones:
 * `localize` (text), `sayLabel` (aria-label), `sayTitle`, `sayPlaceholder`, each a catalogue key.
 * @param {string} tag
 * @param {Record<string, any>} [attributes] null, undefined and false leave an attribute out
 * @param {...(Node|string|null|undefined|false)} children
 * @returns {any} the element
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) set(element, name, value);
  const shown = children.filter((child) => child !== null && child !== undefined && child !== false);
  element.append(.../** @type {(Node|string)[]} */ (shown));
  return element;
}

const TRANSLATED = { localize: "text", sayLabel: "aria-label", sayTitle: "title", sayPlaceholder: "placeholder" };

/** @param {HTMLElement} element @param {string} name @param {any} value */
function set(element, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name === "on") {
    for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
  } else if (name === "data") {
    for (const [key, text] of Object.entries(value)) element.dataset[key] = text;
  } else if (name in TRANSLATED) {
    localize(element, value, {}, TRANSLATED[/** @type {keyof typeof TRANSLATED} */ (name)]);
  } else {
    element.setAttribute(name === "testid" ? "data-testid" : name, value === true ? "" : value);
  }
}

/** Sets an attribute, or takes it away. @param {Element} element @param {string} name @param {any} value */
export function attribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

/** @param {Element} element @param {string} text */
export function text(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The state that a part has drawn last: in a large conference nearly every part has nothing to do for an event. */
export class Drawn {
  /** @type {unknown[]} */
  #last = [];

  /** Whether anything differs, the language included. @param {...unknown} values compared by identity */
  isNew(...values) {
    const now = [currentLanguage(), ...values];
    const isSame = now.length === this.#last.length && now.every((value, at) => value === this.#last[at]);
    this.#last = now;
    return !isSame;
  }
}

/** A part that update() can refresh; `element` is what stands in the page. @typedef {{element: HTMLElement}} Part */

/**
 * Keeps one part for each item, in the items' order, touching only what changed: focus and scroll stay where they are.
 * @template T
 * @template {Part} P
 */
export class KeyedList {
  /** @type {Map<string, P>} */
  #parts = new Map();

  /**
   * @param {HTMLElement} container holds nothing else
   * @param {{key: (item: T) => string, create: (item: T) => P, update: (part: P, item: T) => void}} how
   */
  constructor(container, how) {
    this.container = container;
    this.how = how;
  }

  /** @param {T[]} items */
  update(items) {
    const keys = new Set(items.map(this.how.key));
    for (const [key, part] of this.#parts) {
      if (keys.has(key)) continue;
      part.element.remove();
      this.#parts.delete(key);
    }
    items.forEach((item, index) => this.#place(item, index));
  }

  /** @param {string} key */
  get(key) {
    return this.#parts.get(key);
  }

  /** @param {T} item @param {number} index */
  #place(item, index) {
    const key = this.how.key(item);
    let part = this.#parts.get(key);
    if (!part) {
      part = this.how.create(item);
      this.#parts.set(key, part);
    }
    this.how.update(part, item);
    const there = this.container.children[index];
    if (there !== part.element) this.container.insertBefore(part.element, there ?? null);
  }
}
