// What the server tells by itself on the event socket: a notification each, and the types of a conference's events.

import { coded } from "./prose.js";
import { h } from "./dom.js";
import { json, table } from "./docs-method.js";
import { memberRows } from "./schema-text.js";

/** The notification whose params are of a shape for each type of event. */
const EVENT = "conference.event";

/** @typedef {(node: any) => any} Resolve */

/**
 * @param {any} asyncapi the document
 * @param {Resolve} resolve
 * @returns {{name: string, summary: string, element: HTMLElement}[]}
 */
export function notificationArticles(asyncapi, resolve) {
  const messages = (asyncapi.operations?.notify?.messages ?? []).map(resolve).map(resolve);
  return messages.map((/** @type {any} */ message) => ({
    name: message.name,
    summary: `${message.summary ?? ""} ${typesOf(message, resolve).flatMap(({ names }) => names).join(" ")}`,
    element: article(message, resolve),
  }));
}

/** @param {any} message @param {Resolve} resolve */
function article(message, resolve) {
  const types = typesOf(message, resolve);
  const rows = types.length > 0 ? [] : memberRows(paramsOf(message, resolve), resolve);
  return h(
    "article",
    { class: "docs-method", id: message.name, testid: `notification-${message.name}` },
    h("h2", {}, h("a", { href: `#${message.name}` }, message.name)),
    message.summary && h("p", { class: "docs-summary", lang: "en" }, ...coded(message.summary)),
    message.description && h("p", { lang: "en" }, ...coded(message.description)),
    ...(rows.length > 0 ? [h("h3", { localize: "docs.params" }), table(rows, "docs.optional")] : []),
    ...types.flatMap((type) => typeParts(type, resolve)),
    ...exampleParts(message.examples),
  );
}

/** @param {any} message @param {Resolve} resolve */
function paramsOf(message, resolve) {
  return resolve(resolve(message.payload).properties?.params ?? {});
}

/**
 * The shapes of the events, each with the types that have it. @param {any} message @param {Resolve} resolve
 * @returns {{names: string[], description: string, data: any}[]}
 */
function typesOf(message, resolve) {
  if (message.name !== EVENT) return [];
  return (paramsOf(message, resolve).oneOf ?? []).map(resolve).map((/** @type {any} */ shape) => {
    const { type, data } = shape.properties ?? {};
    return { names: type?.enum ?? ["eim.*"], description: shape.description ?? "", data };
  });
}

/** @param {{names: string[], description: string, data: any}} type @param {Resolve} resolve */
function typeParts({ names, description, data }, resolve) {
  const rows = memberRows(data, resolve, "data.");
  return [
    h("h3", { testid: `event-${names[0]}` }, ...names.flatMap((name, at) => [at > 0 && " ", h("code", {}, name)])),
    h("p", { lang: "en" }, ...coded(description)),
    ...(rows.length > 0 ? [table(rows, "docs.optional")] : []),
  ];
}

/** @param {any[]|undefined} examples */
function exampleParts(examples) {
  if (!examples?.length) return [];
  return [h("details", {}, h("summary", { localize: "docs.examples" }), ...examples.map(({ payload }) => json(payload)))];
}
