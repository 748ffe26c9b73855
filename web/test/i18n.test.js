import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import test from "node:test";
import { CATALOGUES, choose, errorText, t } from "../i18n.js";

const { zh, en } = CATALOGUES;
const placeholders = (text) => (text.match(/\{\w+\}/g) ?? []).sort();

test("both catalogues have the same keys", () => {
  assert.deepEqual(Object.keys(zh).sort(), Object.keys(en).sort());
});

test("both texts of a key have the same params", () => {
  for (const key of Object.keys(en)) assert.deepEqual(placeholders(zh[key]), placeholders(en[key]), key);
});

test("no text is empty", () => {
  for (const [key, text] of [...Object.entries(zh), ...Object.entries(en)]) assert.ok(text.trim(), key);
});

test("every key that the modules name is in the catalogues", () => {
  const folder = new URL("../", import.meta.url);
  const modules = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".js") && !/^(zh\.js|en\.js|test\/.*)$/.test(name));
  const prefixes = new Set(Object.keys(en).map((key) => key.split(".")[0]));
  const eventTypes = new Set(["member.joined", "member.updated", "member.left", "waiting.added", "waiting.removed"]);
  const missing = modules.flatMap((name) =>
    [...readFileSync(new URL(name, folder), "utf8").matchAll(/"([a-z][A-Za-z]*(?:\.[A-Za-z0-9]+)+)"/g)]
      .map(([, key]) => key)
      .filter((key) => prefixes.has(key.split(".")[0]) && !Object.hasOwn(en, key) && !eventTypes.has(key) && !isPrefix(key)),
  );
  assert.deepEqual(missing, []);
});

/** `confirm.kick` stands for `confirm.kick.title` and so on. */
function isPrefix(key) {
  return Object.keys(en).some((longer) => longer.startsWith(`${key}.`));
}

test("the reader's former choice beats the browser's wishes, and Chinese of any region is Chinese", () => {
  assert.equal(choose("en", ["zh-CN"]), "en");
  assert.equal(choose(null, ["zh-TW", "en"]), "zh");
  assert.equal(choose(null, ["fr-FR", "zh-CN"]), "zh");
  assert.equal(choose("xx", ["de"]), "en");
});

test("params are put in as text, and an unknown one stays visible", () => {
  assert.equal(t("member.you", { name: "{name}$&" }), "{name}$& (you)");
  assert.equal(t("member.you"), "{name} (you)");
  assert.equal(t("no.such.key"), "no.such.key");
});

test("every refusal of the server is told in both languages, and nothing else is kept", () => {
  const told = Object.keys(en)
    .filter((key) => key.startsWith("error.") && !key.startsWith("error.net."))
    .map((key) => key.slice("error.".length));
  assert.deepEqual(told.sort(), [...refusalKeys()].sort());
});

/** The keys that the server gives its refusals, its built-in EIM's among them. */
function refusalKeys() {
  const table = readFileSync(new URL("../../src/refusal/reason.rs", import.meta.url), "utf8");
  return new Set([...table.matchAll(/^ {4}\w+: \w+, "([\w.]+)"/gm)].map(([, key]) => key));
}

test("an error is told by its key, and an unknown one in the server's words", () => {
  assert.equal(errorText({ key: "conference.locked", message: "x" }), en["error.conference.locked"]);
  assert.equal(errorText({ key: "http.tooMany", message: "x", data: { retryAfterMs: 1500 } }), "Too many requests. Please try again in 2 s.");
  assert.equal(errorText({ key: "auth.scopeMissing", message: "x", data: { scope: "user.create" } }), "You may not do this: it needs the right “user.create”.");
  assert.equal(errorText({ key: "dialect.odd", message: "the EIM says no" }), "the EIM says no");
});
