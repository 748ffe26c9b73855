// How a person is drawn without a picture: initials on one of a few calm colours.

/** How many `hue-N` classes the style sheet has. */
export const HUES = 8;

const CJK = /\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul}/u;

/** Between words: spaces, and punctuation that does not stand within one. */
const BETWEEN = /(?:[\s\p{Sm}\p{Sc}\p{Sk}]|[^\P{P}'’-])+/u;

/** A character that is drawn by itself: no control, blank, filler, mark or other part of one. */
const DRAWN = /[^\p{C}\p{Z}\p{M}\p{Default_Ignorable_Code_Point}\u2800]/u;

/** Whether anything of a name can be seen, as the server demands. @param {string} name */
export function canBeSeen(name) {
  return DRAWN.test(name);
}

/**
 * At most two characters. Chinese, Japanese and Korean names show their last two (the given name), others the first
 * letters of the first and the last word.
 * @param {string} name any text: names come from strangers
 */
export function initials(name) {
  const words = name.split(BETWEEN).filter(Boolean);
  if (words.length === 0) return graphemes(name.trim())[0] ?? "?";
  if (CJK.test(name)) return graphemes(name).filter((character) => CJK.test(character)).slice(-2).join("");
  const last = words.length > 1 ? graphemes(words[words.length - 1])[0] : "";
  return (graphemes(words[0])[0] + last).toUpperCase();
}

/** A steady number from 0 to HUES - 1 for an id. @param {string} userId */
export function hue(userId) {
  let hash = 0;
  for (const char of userId) hash = (hash * 31 + (char.codePointAt(0) ?? 0)) >>> 0;
  return hash % HUES;
}

/** @param {string} text @returns {string[]} what a reader sees as single characters */
function graphemes(text) {
  return Array.from(new Intl.Segmenter().segment(text), ({ segment }) => segment);
}
