import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, normalize } from "node:path/posix";
import test from "node:test";

const folder = new URL("../", import.meta.url);
const read = (name) => readFileSync(new URL(name, folder), "utf8");
const pages = readdirSync(folder).filter((name) => name.endsWith(".html"));
const modules = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".js") && !name.startsWith("test/"));
const importsOf = (name) => [...read(name).matchAll(/^(?:import|\}) .*?"(\.\.?\/[\w/-]+\.js)";$/gm)].map(([, file]) => normalize(`${dirname(name)}/${file}`));

function closure(entry) {
  const seen = new Set();
  const todo = [entry];
  for (const name of todo) {
    if (!seen.has(name)) todo.push(...importsOf(name));
    seen.add(name);
  }
  seen.delete(entry);
  return [...seen].sort();
}

test("every page preloads exactly the modules that it needs, so that none waits for another", () => {
  for (const page of pages) {
    const preloaded = [...read(page).matchAll(/modulepreload" href="__BASE__\/assets\/([\w/-]+\.js)"/g)].map(([, file]) => file);
    assert.deepEqual(preloaded, closure(page.replace(".html", ".js")), page);
  }
});

test("pages carry no script, style or handler of their own, and name only files that exist", () => {
  for (const page of pages) {
    const html = read(page);
    assert.doesNotMatch(html, /<style|style=|\son\w+=|<script(?![^>]*\ssrc=)/, page);
    for (const [, file] of html.matchAll(/__BASE__\/assets\/([\w./-]+)"/g)) assert.ok(existsSync(new URL(file, folder)), file);
  }
});

test("no module builds markup from text", () => {
  for (const name of modules) assert.doesNotMatch(read(name), /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function/, name);
});

test("no token goes into an address", () => {
  for (const name of modules) assert.doesNotMatch(read(name), /[?&](token|access_token)=|searchParams\.\w+\("token/i, name);
});
