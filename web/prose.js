// The little Markdown that descriptions in the schema use: paragraphs, lists, and `code`.

import { h } from "./dom.js";

/**
 * Text with `code` in it.
 * @param {string} text
 * @returns {(Node|string)[]}
 */
export function coded(text) {
  return text.split("`").map((part, at) => (at % 2 === 1 ? h("code", {}, part) : part));
}

/**
 * Blocks apart by empty lines; a block of lines with `- ` is a list.
 * @param {string} text
 * @returns {HTMLElement[]}
 */
export function prose(text) {
  return text.split(/\n{2,}/u).map((block) => {
    const lines = block.split("\n");
    if (!lines.every((line) => line.startsWith("- "))) return h("p", {}, ...coded(block));
    return h("ul", {}, ...lines.map((line) => h("li", {}, ...coded(line.slice(2)))));
  });
}
