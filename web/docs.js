// The reference for front-end developers, drawn from the server's own description of itself.

import { addressOf, basePath, socketAddress } from "./address.js";
import { brand, languageSwitch, showScreen } from "./chrome.js";
import { h } from "./dom.js";
import { onLanguage, startLanguage, t } from "./i18n.js";
import { methodArticle } from "./docs-method.js";
import { notificationArticles } from "./docs-event.js";
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
  let openrpc, asyncapi;
  try {
    [openrpc, asyncapi] = await Promise.all(["openrpc.json", "asyncapi.json"].map(read));
  } catch {
    return showScreen("failed", h("main", { class: "docs-failed", localize: "docs.failed", testid: "state-text" }));
  }
  showScreen("docs", page(openrpc, asyncapi));
  document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

/** @param {string} document */
async function read(document) {
  return (await fetch(addressOf(document))).json();
}

/** @param {any} openrpc @param {any} asyncapi */
function page(openrpc, asyncapi) {
  const resolve = resolver(openrpc);
  const methods = (openrpc.methods ?? []).map(resolve);
  /** Shared by all "try it" boxes, in memory only. */
  const token = h("input", { class: "field", type: "password", autocomplete: "off", testid: "docs-token", sayPlaceholder: "docs.tokenHint" });
  const entries = methods.map((/** @type {any} */ method) => {
    const { name, summary = "" } = method;
    return { name, summary, element: methodArticle(method, resolve, () => token.value.trim()) };
  });
  const told = notificationArticles(asyncapi, resolver(asyncapi));
  return h(
    "div",
    { class: "docs" },
    h("header", { class: "top" }, h("a", { href: `${basePath}/`, class: "home-link" }, brand()), languageSwitch()),
    h("nav", { class: "docs-nav", sayLabel: "docs.index" }, index(entries, told)),
    h("main", { class: "docs-main" }, ...introduction(openrpc, token), ...[...entries, ...told].map(({ element }) => element)),
  );
}

/** @typedef {{name: string, summary: string, element: HTMLElement}} Entry */

/** @param {Entry[]} methods @param {Entry[]} told */
function index(methods, told) {
  const search = h("input", { class: "field", type: "search", sayPlaceholder: "docs.search", sayLabel: "docs.search", testid: "docs-search" });
  const nothing = h("p", { class: "empty", localize: "docs.nothing", hidden: true });
  const parts = [list("docs.methods", methods, "docs-methods"), list("docs.notifications", told, "docs-notifications")];
  search.addEventListener("input", () => {
    const wish = search.value.trim().toLowerCase();
    nothing.hidden = parts.map(({ find }) => find(wish)).includes(true);
  });
  return h("div", { class: "stack" }, search, ...parts.map(({ element }) => element), nothing);
}

/** A part of the index. `find` shows what matches, here and in the page, and says whether anything does.
 * @param {"docs.methods"|"docs.notifications"} heading @param {Entry[]} entries @param {string} testid */
function list(heading, entries, testid) {
  const items = entries.map(({ name }) => h("li", {}, h("a", { href: `#${name}` }, name)));
  const element = h("section", {}, h("h2", { localize: heading }), h("ul", { testid }, ...items));
  /** @param {string} wish */
  const find = (wish) => {
    const isMatch = entries.map(({ name, summary }) => `${name} ${summary}`.toLowerCase().includes(wish));
    isMatch.forEach((match, at) => (items[at].hidden = entries[at].element.hidden = !match));
    element.hidden = !isMatch.includes(true);
    return isMatch.includes(true);
  };
  return { element, find };
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
