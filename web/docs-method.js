// One method of the reference: what it takes, what it gives, how it refuses, and a box to try it.

import { addressOf } from "./address.js";
import { coded } from "./prose.js";
import { h } from "./dom.js";
import { localize, t } from "./i18n.js";
import { memberRows, typeText } from "./schema-text.js";

/** @typedef {(node: any) => any} Resolve */

/**
 * @param {any} method an OpenRPC method object
 * @param {Resolve} resolve
 * @param {() => string} token the access token to try with, may be empty
 * @returns {HTMLElement}
 */
export function methodArticle(method, resolve, token) {
  const params = (method.params ?? []).map(resolve);
  const examples = (method.examples ?? []).map(resolve);
  const access = method["x-access"] && h("p", { class: "docs-access" });
  if (access) sayAccess(access, String(method["x-access"]));
  return h(
    "article",
    { class: "docs-method", id: method.name, testid: `method-${method.name}` },
    h("h2", {}, h("a", { href: `#${method.name}` }, method.name)),
    method.summary && h("p", { class: "docs-summary", lang: "en" }, ...coded(method.summary)),
    method.description && method.description !== method.summary && h("p", { lang: "en" }, ...coded(method.description)),
    access,
    h("h3", { localize: "docs.params" }),
    params.length > 0 ? table(params.flatMap((/** @type {any} */ param) => paramRows(param, resolve)), "docs.required") : h("p", { localize: "docs.noParams" }),
    h("h3", { localize: "docs.result" }),
    ...resultParts(resolve(method.result), resolve),
    ...errorParts(method.errors, resolve),
    method["x-reasons"] && h("p", {}, ...coded(method["x-reasons"].map((/** @type {string} */ key) => `\`${key}\``).join(" "))),
    ...exampleParts(examples, method.name),
    tryBox(method.name, exampleParams(examples[0]), token),
  );
}

/** The callers that may call it, in words: `chair`, `scope:operator`, `guest|scope:contacts.read`. @param {HTMLElement} place @param {string} access */
function sayAccess(place, access) {
  const [rule, scope] = access.split("scope:");
  if (scope) localize(place, rule ? "docs.access.guestOrScope" : "docs.access.scope", { scope });
  else localize(place, `docs.access.${access}`);
}

/** @param {any} param @param {Resolve} resolve */
function paramRows({ name, schema, required, summary, description }, resolve) {
  const inner = resolve(schema);
  const row = { path: name, type: typeText(inner, resolve), isRequired: Boolean(required), description: description ?? summary ?? inner.description ?? "" };
  return [row, ...memberRows(inner, resolve, `${name}.`)];
}

/**
 * @param {{path: string, type: string, isRequired: boolean, description: string}[]} rows
 * @param {"docs.required"|"docs.optional"} mark which of the two is worth saying
 */
export function table(rows, mark) {
  const line = (/** @type {typeof rows[0]} */ { path, type, isRequired, description }) =>
    h(
      "tr",
      {},
      h("td", {}, h("code", {}, path), isRequired === (mark === "docs.required") && h("span", { class: "docs-mark", localize: mark })),
      h("td", { class: "docs-type" }, type),
      h("td", { lang: "en" }, ...coded(description)),
    );
  return h("div", { class: "docs-table", tabindex: "0" }, h("table", {}, h("tbody", {}, ...rows.map(line))));
}

/** @param {any} result @param {Resolve} resolve */
function resultParts(result, resolve) {
  const rows = memberRows(result.schema, resolve);
  const type = h("p", { class: "docs-type" }, typeText(result.schema, resolve));
  return rows.length > 0 ? [table(rows, "docs.optional")] : [type];
}

/** @param {any[]|undefined} errors @param {Resolve} resolve */
function errorParts(errors, resolve) {
  if (!errors?.length) return [];
  const row = (/** @type {any} */ { code, message, data }) =>
    h("tr", {}, h("td", {}, h("code", {}, String(code))), h("td", { lang: "en" }, ...coded(message)), h("td", {}, data?.key && h("code", {}, data.key)));
  const body = h("tbody", {}, ...errors.map(resolve).map(row));
  return [h("h3", { localize: "docs.errors" }), h("div", { class: "docs-table errors", tabindex: "0" }, h("table", {}, body))];
}

/** @param {any[]} examples @param {string} method */
function exampleParts(examples, method) {
  if (examples.length === 0) return [];
  const one = (/** @type {any} */ example) => [
    h("h4", { localize: "docs.request" }),
    json({ jsonrpc: "2.0", id: "1", method, params: exampleParams(example) }),
    h("h4", { localize: "docs.reply" }),
    json({ jsonrpc: "2.0", id: "1", result: example.result?.value ?? null }),
  ];
  return [h("details", {}, h("summary", { localize: "docs.examples" }), ...examples.flatMap(one))];
}

/** Named params from OpenRPC's list of examples. @param {any} example */
function exampleParams(example) {
  return Object.fromEntries((example?.params ?? []).map((/** @type {any} */ { name, value }) => [name, value]));
}

/** @param {any} value */
export function json(value) {
  return h("pre", { tabindex: "0" }, h("code", {}, JSON.stringify(value, null, 2)));
}

/** @param {string} method @param {object} params @param {() => string} token */
function tryBox(method, params, token) {
  const text = JSON.stringify(params, null, 2);
  const input = h("textarea", { class: "field code", rows: String(text.split("\n").length + 1), spellcheck: "false", sayLabel: "docs.params", testid: `try-params-${method}` });
  input.value = text;
  const output = h("pre", { class: "docs-output", role: "status", hidden: true, testid: `try-output-${method}` });
  const button = h("button", { class: "button primary small", type: "submit", localize: "docs.send", testid: `try-${method}` });
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    button.disabled = true;
    output.textContent = await answerTo(method, input.value, token());
    output.hidden = false;
    button.disabled = false;
  };
  return h("details", { class: "docs-try" }, h("summary", { localize: "docs.try" }), h("form", { class: "stack", on: { submit } }, input, button, output));
}

/** The reply as it came, errors included: that is what one wants to see here. @param {string} method @param {string} params @param {string} token */
async function answerTo(method, params, token) {
  let named;
  try {
    named = JSON.parse(params);
  } catch {
    return t("docs.badJson");
  }
  const headers = { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) };
  const body = JSON.stringify({ jsonrpc: "2.0", id: "1", method, params: named });
  try {
    const response = await fetch(addressOf("jsonrpc"), { method: "POST", headers, body });
    const words = await response.text();
    return response.ok ? JSON.stringify(JSON.parse(words), null, 2) : `HTTP ${response.status}\n${words}`;
  } catch {
    return t("error.net.unreachable");
  }
}
