import assert from "node:assert/strict";
import { test } from "node:test";

import { continued, merged } from "../chat-log.js";
import { SNAPSHOT_MESSAGES } from "../roster.js";

/** Messages of those numbers. */
const said = (from, until) => Array.from({ length: until - from }, (_, at) => ({ messageId: `m${from + at}`, text: "" }));

test("a chat goes on with what is said next", () => {
  assert.deepEqual(continued(said(0, 3), said(1, 5)), said(0, 5));
  assert.deepEqual(continued([], said(0, 5)), said(0, 5));
  assert.deepEqual(continued(said(0, 300), said(101, 301)), said(0, 301), "a full list that still holds its end");
});

test("a chat shows no two messages side by side between which something was said", () => {
  const newest = said(500, 500 + SNAPSHOT_MESSAGES);
  assert.equal(continued(said(0, 300), newest), newest);
});

test("older messages are put before a chat, each once", () => {
  assert.deepEqual(merged(said(0, 4), said(3, 6)), said(0, 6));
});
