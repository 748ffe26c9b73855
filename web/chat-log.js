// What is known of a chat: a run of messages without a hole, up to the newest.

import { SNAPSHOT_MESSAGES } from "./roster.js";

/** @typedef {import("./roster.js").Message} Message */

/**
 * The log with the newest messages. A snapshot after a long absence may begin behind the log's end: then what was said
 * between the two is known to the server only, and the log begins anew, so that it can be fetched from there backwards.
 * @param {Message[]} log oldest first
 * @param {Message[]} newest the roster's list, oldest first
 * @returns {Message[]}
 */
export function continued(log, newest) {
  const last = log.at(-1)?.messageId;
  const isJoined = newest.length < SNAPSHOT_MESSAGES || newest.some(({ messageId }) => messageId === last);
  return isJoined ? merged(log, newest) : newest;
}

/**
 * Both lists, of which the second goes on where the first ends, or repeats its end.
 * @param {Message[]} before @param {Message[]} after
 * @returns {Message[]}
 */
export function merged(before, after) {
  const known = new Set(before.map(({ messageId }) => messageId));
  return [...before, ...after.filter(({ messageId }) => !known.has(messageId))];
}
