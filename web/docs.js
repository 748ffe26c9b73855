// The reference for front-end developers, drawn from the server's own description of itself.

import { addressOf, basePath, socketAddress } from "./address.js";
import { brand, languageSwitch, showScreen } from "./chrome.js";
import { h } from "./dom.js";
import { onLanguage, startLanguage, t } from "./i18n.js";
import { methodArticle } from "./docs-method.js";
import { prose } from "./prose.js";
import { resolver } from "./schema-text.js";

const CLOSE_CODES = ["1001", "4001", "4003", "4004", "4008", "4009"];

startLanguage();
onLanguage(title);
title();
load();

function title() {
  document.title = t("docs.title");
}

async function load() {
  let openrpc;
  try {
    openrpc = await (await fetch(addressOf("openrpc.json"))).json();
  } catch {
    return showScreen("failed", h("main", { class: "docs-failed", localize: "docs.failed", testid: "state-text" }));
  }
  showScreen("docs", page(openrpc));
  document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

/** @param {any} openrpc */
function page(openrpc) {
  const resolve = resolver(openrpc);
  const methods = (openrpc.methods ?? []).map(resolve);
  /** Shared by all "try it" boxes, in memory only. */
  const token = h("input", { class: "field", type: "password", autocomplete: "off", testid: "docs-token", sayPlaceholder: "docs.tokenHint" });
  const articles = methods.map((/** @type {any} */ method) => methodArticle(method, resolve, () => token.value.trim()));
  const index = methodIndex(methods, articles);
  return h(
    "div",
    { class: "docs" },
    h("header", { class: "top" }, h("a", { href: `${basePath}/`, class: "home-link" }, brand()), languageSwitch()),
    h("nav", { class: "docs-nav", sayLabel: "docs.methods" }, index),
    h("main", { class: "docs-main" }, ...introduction(openrpc, token), ...articles),
  );
}

/** @param {any[]} methods @param {HTMLElement[]} articles */
function methodIndex(methods, articles) {
  const search = h("input", { class: "field", type: "search", sayPlaceholder: "docs.search", sayLabel: "docs.search", testid: "docs-search" });
  const items = methods.map(({ name }) => h("li", {}, h("a", { href: `#${name}` }, name)));
  const nothing = h("p", { class: "empty", localize: "docs.nothing", hidden: true });
  search.addEventListener("input", () => {
    const wish = search.value.trim().toLowerCase();
    const isMatch = methods.map(({ name, summary }) => `${name} ${summary ?? ""}`.toLowerCase().includes(wish));
    isMatch.forEach((match, at) => (items[at].hidden = articles[at].hidden = !match));
    nothing.hidden = isMatch.includes(true);
  });
  return h("div", { class: "stack" }, search, h("ul", { testid: "docs-methods" }, ...items), nothing);
}

/** @param {any} openrpc @param {HTMLElement} token */
function introduction(openrpc, token) {
  const version = h("small", {}, openrpc.info?.version ?? "");
  const intro = h(
    "section",
    { class: "docs-intro" },
    h("h1", {}, h("span", { localize: "docs.title" }), " ", version),
    h("p", { localize: "docs.lead" }),
    ...prose(openrpc.info?.description ?? ""),
    h("h2", { localize: "docs.endpoint" }),
    code(`POST ${addressOf("jsonrpc")}`),
    h("label", { class: "labelled docs-token" }, h("span", { class: "label", localize: "docs.token" }), token),
    h("h2", { localize: "docs.download" }),
    h("p", { class: "docs-links" }, h("a", { href: `${basePath}/openrpc.json` }, "openrpc.json"), h("a", { href: `${basePath}/asyncapi.json` }, "asyncapi.json")),
  );
  return [intro, socketSection()];
}

function socketSection() {
  const resume = decodeURIComponent(socketAddress([{ confId: "<confId>", epoch: "<epoch>", seq: 42 }]));
  const codes = CLOSE_CODES.map((close) => h("tr", {}, h("td", {}, h("code", {}, close)), h("td", { localize: `docs.close.${close}` })));
  const head = h("thead", {}, h("tr", {}, h("th", { localize: "docs.code" }), h("th", { localize: "docs.meaning" })));
  return h(
    "section",
    { class: "docs-intro" },
    h("h2", { localize: "docs.socket" }),
    h("p", { localize: "docs.socketLead" }),
    code(`const socket = new WebSocket("${socketAddress([])}", ["confgate", "bearer." + accessToken]);\nsocket.onmessage = ({ data }) => console.log(JSON.parse(data));`),
    h("p", { localize: "docs.socketResume" }),
    code(resume),
    h("h3", { localize: "docs.closeCodes" }),
    h("table", {}, head, h("tbody", {}, ...codes)),
  );
}

/** @param {string} text */
function code(text) {
  return h("pre", { tabindex: "0" }, h("code", {}, text));
}
