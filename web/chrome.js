// The frame of every page: the product's name and the switch of language.

import { h } from "./dom.js";
import { currentLanguage, switchLanguage } from "./i18n.js";

/** @returns {HTMLElement} */
export function brand() {
  return h("span", { class: "brand" }, h("span", { class: "brand-mark", "aria-hidden": "true" }), h("span", { localize: "brand" }));
}

/** A button that names the other language in that language. @returns {HTMLElement} */
export function languageSwitch() {
  const flip = () => switchLanguage(currentLanguage() === "zh" ? "en" : "zh");
  return h("button", { class: "button quiet small", type: "button", localize: "language.other", sayLabel: "language.label", testid: "lang", on: { click: flip } });
}

/** A page with the content as a card in the middle. @param {...(Node|string|false)} content @returns {HTMLElement} */
export function cardPage(...content) {
  return h("div", { class: "card-page" }, h("header", { class: "top" }, brand(), languageSwitch()), h("main", { class: "card" }, ...content.filter(Boolean)));
}

/**
 * Shows one screen instead of the former; its name stands on the body for style sheets and tests.
 * @param {string} name
 * @param {HTMLElement} element
 */
export function showScreen(name, element) {
  document.body.dataset.screen = name;
  const place = /** @type {HTMLElement} */ (document.getElementById("app"));
  if (place.firstElementChild !== element) place.replaceChildren(element);
}
