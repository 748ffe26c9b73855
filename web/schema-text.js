// JSON Schema in words short enough for a table.

/** Deeper members are left to the machine-readable document. */
const DEPTH = 5;

/**
 * A resolver for `$ref`s inside one document.
 * @param {any} document
 * @returns {(node: any) => any} the node itself, or what it refers to; an empty object when that is missing
 */
export function resolver(document) {
  return (node) => {
    const seen = new Set();
    let at = node;
    while (typeof at?.$ref === "string" && !seen.has(at.$ref)) {
      seen.add(at.$ref);
      const path = at.$ref.replace(/^#\//, "").split("/");
      at = path.reduce((/** @type {any} */ found, /** @type {string} */ step) => found?.[unescaped(step)], document);
    }
    return at?.$ref ? {} : (at ?? {});
  };
}

/** A JSON pointer's step. @param {string} step */
function unescaped(step) {
  return step.replace(/~1/g, "/").replace(/~0/g, "~");
}

/**
 * The type in a few words, e.g. `string`, `integer, 1 to 50`, `"on" | "off"`, `list of object`.
 * @param {any} schema
 * @param {(node: any) => any} resolve
 * @returns {string}
 */
export function typeText(schema, resolve) {
  const node = resolve(schema);
  if (node.const !== undefined) return JSON.stringify(node.const);
  if (Array.isArray(node.enum)) return node.enum.map((/** @type {any} */ value) => JSON.stringify(value)).join(" | ");
  const choices = node.oneOf ?? node.anyOf;
  if (choices) return choices.map((/** @type {any} */ choice) => typeText(choice, resolve)).join(" | ");
  if (node.type === "array") return node.items ? `list of ${typeText(node.items, resolve)}` : "list";
  const type = Array.isArray(node.type) ? node.type.join(" | ") : (node.type ?? (node.properties ? "object" : "any"));
  return [type, ...limits(node)].join(", ");
}

/** @param {any} node @returns {string[]} */
function limits({ minimum, maximum, minLength, maxLength, pattern, format, default: preset }) {
  return [
    range(minimum, maximum),
    range(minLength, maxLength) && `${range(minLength, maxLength)} characters`,
    pattern && `/${pattern}/`,
    format,
    preset !== undefined && preset !== null && `default ${JSON.stringify(preset)}`,
  ].filter(Boolean);
}

/** @param {number|undefined} low @param {number|undefined} high */
function range(low, high) {
  if (low !== undefined && high !== undefined) return `${low} to ${high}`;
  if (low !== undefined && low > 0) return `at least ${low}`;
  return high !== undefined ? `at most ${high}` : "";
}

/**
 * The members of an object (or of a list's objects), depth first.
 * @param {any} schema
 * @param {(node: any) => any} resolve
 * @param {string} [prefix]
 * @returns {{path: string, type: string, isRequired: boolean, description: string}[]}
 */
export function memberRows(schema, resolve, prefix = "", depth = DEPTH) {
  const node = objectOf(resolve(schema), resolve);
  if (depth === 0) return [];
  return Object.entries(node.properties ?? {}).flatMap(([name, member]) => {
    const inner = resolve(member);
    const path = `${prefix}${name}`;
    const isList = inner.type === "array";
    const row = {
      path,
      type: typeText(inner, resolve),
      isRequired: (node.required ?? []).includes(name),
      description: inner.description ?? "",
    };
    return [row, ...memberRows(isList ? (inner.items ?? {}) : inner, resolve, `${path}${isList ? "[]" : ""}.`, depth - 1)];
  });
}

/** Sees through lists, `X or null` and `allOf`. @param {any} node @param {(node: any) => any} resolve @returns {any} */
function objectOf(node, resolve) {
  if (node.type === "array" && node.items) return objectOf(resolve(node.items), resolve);
  const parts = (node.allOf ?? []).map((/** @type {any} */ part) => objectOf(resolve(part), resolve));
  if (parts.length > 0) {
    return {
      properties: Object.assign({}, ...parts.map((/** @type {any} */ part) => part.properties), node.properties),
      required: [...parts.flatMap((/** @type {any} */ part) => part.required ?? []), ...(node.required ?? [])],
    };
  }
  const choices = node.oneOf ?? node.anyOf ?? [];
  const objects = choices.map(resolve).filter((/** @type {any} */ choice) => choice.properties);
  return objects.length === 1 ? objects[0] : node;
}
