// Chinese and English. Elements remember their text's key, so a change of language reaches everything on the page,
// typed text included (it stays).

import { en } from "./en.js";
import { zh } from "./zh.js";

/** @type {Record<string, Record<string, string>>} */
export const CATALOGUES = { zh, en };
const STORED = "confgate.language";

/** @type {"zh"|"en"} */
let language = "en";
/** The texts of elements: attribute (or `text`) -> key and params. @type {WeakMap<Element, Map<string, [string, object]>>} */
const said = new WeakMap();
/** @type {Set<() => void>} */
const listeners = new Set();

/**
 * @param {string|null} stored the reader's former choice
 * @param {readonly string[]} wishes `navigator.languages`
 * @returns {"zh"|"en"}
 */
export function choose(stored, wishes) {
  if (stored === "zh" || stored === "en") return stored;
  const first = wishes.map((wish) => wish.toLowerCase().split("-")[0]).find((wish) => wish in CATALOGUES);
  return first === "zh" ? "zh" : "en";
}

export function currentLanguage() {
  return language;
}

/** Takes up the reader's language; call once, before anything is drawn. */
export function startLanguage() {
  language = choose(readStored(), navigator.languages ?? [navigator.language]);
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
}

/** @param {"zh"|"en"} wish */
export function switchLanguage(wish) {
  try {
    localStorage.setItem(STORED, wish);
  } catch {
    // storage is shut off: the choice lasts as long as the page
  }
  language = wish;
  document.documentElement.lang = wish === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-i18n]")) render(element);
  for (const listener of listeners) listener();
}

/** Calls back after each change of language. @param {() => void} listener */
export function onLanguage(listener) {
  listeners.add(listener);
}

/**
 * The text for a key; `{name}` stands for a param. A key that no catalogue has comes back as it is.
 * @param {string} key
 * @param {Record<string, string|number>} [params]
 */
export function t(key, params = {}) {
  const text = CATALOGUES[language][key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in params ? String(params[name]) : whole));
}

/** @param {string} key */
export function isKnown(key) {
  return Object.hasOwn(CATALOGUES[language], key);
}

/** Names, one after the other. @param {string[]} names */
export function listed(names) {
  return names.join(t("list.comma"));
}

/**
 * Sets an element's text, in this language and in those switched to later.
 * @param {Element} element
 * @param {string} key
 * @param {Record<string, string|number>} [params]
 * @param {string} [place] an attribute's name, or `text`
 */
export function localize(element, key, params = {}, place = "text") {
  const places = said.get(element) ?? new Map();
  places.set(place, [key, params]);
  said.set(element, places);
  if (!element.hasAttribute("data-i18n")) element.setAttribute("data-i18n", "");
  renderAt(element, place, key, params);
}

/** @param {Element} element */
function render(element) {
  for (const [place, [key, params]] of said.get(element) ?? []) renderAt(element, place, key, params);
}

/** @param {Element} element @param {string} place @param {string} key @param {object} params */
function renderAt(element, place, key, params) {
  const text = t(key, /** @type {any} */ (params));
  if (place !== "text") element.setAttribute(place, text);
  else if (element.textContent !== text) element.textContent = text;
}

/**
 * The words for a failed call: by the error's stable key, else the server's own words.
 * @param {{key?: string, message?: string, data?: {retryAfterMs?: number, traceId?: string, scope?: string}}} error
 */
export function errorText(error) {
  const seconds = Math.ceil((error.data?.retryAfterMs ?? 0) / 1000);
  const key = `error.${error.key}`;
  if (isKnown(key)) return t(key, { seconds, traceId: error.data?.traceId ?? "", scope: error.data?.scope ?? "" });
  return error.message || t("error.internal", { traceId: "" });
}

function readStored() {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}
