import assert from "node:assert/strict";
import test from "node:test";
import { Backoff, jittered } from "../backoff.js";
import { elapsed, startOf } from "../clock.js";
import { canBeSeen, hue, HUES, initials } from "../names.js";
import { socketAddress } from "../address.js";
import { arrange } from "../layout.js";
import { conferenceActions, memberActions } from "../actions.js";
import { memberRows, resolver, typeText } from "../schema-text.js";
import { wordsFor } from "../notices.js";

test("delays double up to the ceiling, and each is jittered downwards", () => {
  const slow = new Backoff({ baseMs: 100, maxMs: 400, random: () => 1 });
  assert.deepEqual([slow.next(), slow.next(), slow.next(), slow.next()], [100, 200, 400, 400]);
  const fast = new Backoff({ baseMs: 100, maxMs: 400, random: () => 0 });
  assert.equal(fast.next(), 50);
  slow.reset();
  assert.equal(slow.next(), 100);
});

test("jitter spreads evenly around the duration", () => {
  assert.equal(jittered(1000, 0.4, () => 0), 600);
  assert.equal(jittered(1000, 0.4, () => 0.5), 1000);
  assert.equal(jittered(1000, 0.4, () => 1), 1400);
});

test("elapsed time never runs backwards and shows hours only when there are any", () => {
  assert.deepEqual([elapsed(-5), elapsed(61_000), elapsed(3_600_000)], ["0:00", "1:01", "1:00:00"]);
});

test("a conference runs since its start, or since the first of those present", () => {
  const roster = (startAt) => ({ conference: { startAt }, members: [{ joinedAt: 50 }] });
  assert.equal(startOf(roster(10), 100), 10);
  assert.equal(startOf(roster(200), 100), 50);
  assert.equal(startOf(roster(null), 100), 50);
});

test("a name of which nothing can be seen is none", () => {
  for (const unseen of ["", " ", "\u200b", "\u3164", "\u2800", "\u202e", "\ufeff", "\u0301", "\ufe0f", "\u{e0041}"]) assert.ok(!canBeSeen(unseen), escape(unseen));
  for (const name of ["张三", "A", "👩\u200d💻", "می\u200cخواهم", "1"]) assert.ok(canBeSeen(name), name);
});

test("initials suit the script", () => {
  const expected = { 张三: "张三", 欧阳明月: "明月", "Anna Schmidt": "AS", anna: "A", "Jean Luc Picard": "JP", "  ": "?", "王 小明": "小明", "张伟 Wei": "张伟", "<img src=x>": "IX", "(guest)": "G", "---": "-", "***": "*", "👩‍👩‍👧 x": "👩‍👩‍👧X" };
  for (const [name, drawn] of Object.entries(expected)) assert.equal(initials(name), drawn);
});

test("a colour is steady and within the style sheet's", () => {
  for (const id of ["", "u1", "g9999", "漢字"]) {
    assert.equal(hue(id), hue(id));
    assert.ok(hue(id) >= 0 && hue(id) < HUES);
  }
});

test("positions stand in the socket's address, the scheme follows the page's", () => {
  const address = socketAddress([{ confId: "c1", epoch: "e:1", seq: 7 }], new URL("https://h:1/gz/"));
  assert.equal(address, "wss://h:1/gz/websck?resume=c1%3Ae%3A1%3A7");
  assert.equal(socketAddress([], new URL("http://h/gz/")), "ws://h/gz/websck");
});

const people = (...ids) => ids.map((userId, at) => ({ userId, video: "off", audio: "on", role: "member", hand: false, joinedAt: at }));
const stage = (members, conference = {}) => ({ members, conference: { mainVideo: null, chair: "chair", ...conference } });
const noChoice = { picked: null, closed: new Set() };

test("the main video is whom the reader picked, else the chair's choice, else the chair, else another, else oneself", () => {
  const all = people("me", "b", "chair", "d");
  assert.equal(arrange(stage(all, { mainVideo: "b" }), "me", { picked: "d", closed: new Set() }).main, "d");
  assert.equal(arrange(stage(all, { mainVideo: "b" }), "me", noChoice).main, "b");
  assert.equal(arrange(stage(all), "me", noChoice).main, "chair");
  assert.equal(arrange(stage(all), "chair", noChoice).main, "me");
  assert.equal(arrange(stage(people("me")), "me", noChoice).main, "me");
});

test("the former main video goes back to its own place in the strip", () => {
  const all = people("me", "b", "chair", "d");
  assert.deepEqual(arrange(stage(all), "me", noChoice).strip, ["b", "d"]);
  assert.deepEqual(arrange(stage(all), "me", { picked: "d", closed: new Set() }).strip, ["b", "chair"]);
});

test("a closed video is nowhere on the stage", () => {
  const { main, strip } = arrange(stage(people("me", "chair", "b")), "me", { picked: null, closed: new Set(["chair"]) });
  assert.deepEqual([main, strip], ["b", []]);
});

test("one's own picture is in the corner once the camera is open, unless it is the main video", () => {
  const all = people("me", "b");
  all[0].video = "on";
  assert.equal(arrange(stage(all), "me", noChoice).corner, true);
  assert.equal(arrange(stage(all, { mainVideo: "me" }), "me", noChoice).corner, false);
});

const idsOf = (actions) => actions.map(({ id }) => id);
const onStage = { mainVideo: null, picked: null, isClosed: false };

test("only the chair may act on others", () => {
  const [chair, guest] = [{ userId: "a", role: "chair" }, { userId: "b", role: "guest", audio: "on", hand: true }];
  assert.deepEqual(idsOf(memberActions(guest, chair, onStage)), ["pick", "hide"]);
  assert.deepEqual(idsOf(memberActions(guest, guest, onStage)), []);
  assert.deepEqual(idsOf(memberActions(chair, guest, onStage)), ["pick", "hide", "mute", "lower", "main", "chair", "kick", "ban"]);
  assert.deepEqual(idsOf(memberActions(chair, chair, onStage)), ["main"]);
  assert.ok(idsOf(memberActions(chair, { ...guest, audio: "forcedOff" }, onStage)).includes("unmute"));
});

test("a chair asks who is silent, lets who was forced to be, and can't put out whom the conference names", () => {
  const [chair, other] = [{ userId: "a", role: "chair" }, { userId: "b", role: "guest", hand: false }];
  const at = (audio, rest = {}, place = { ...onStage, chair: "a" }) => memberActions(chair, { ...other, audio, ...rest }, place).map(({ id, control, confirm }) => [id, control?.[0], confirm]);
  const has = (actions, id, control) => actions.some(([one, what]) => one === id && what === control);
  assert.ok(has(at("off"), "ask", "unmute") && has(at("off"), "mute", "mute"));
  assert.ok(!has(at("off", { unmuteAsked: true }), "ask", "unmute"));
  assert.ok(has(at("forcedOff"), "unmute", "allowUnmute") && !has(at("on"), "ask", "unmute"));
  const further = at("on", {}, { ...onStage, chair: "b" });
  assert.ok(!further.some(([id]) => ["chair", "kick", "ban"].includes(id)));
  assert.equal(at("on").find(([id]) => id === "chair")[2], "confirm.chair");
  assert.equal(at("on", {}, { ...onStage, chair: "c" }).find(([id]) => id === "chair")[2], "confirm.othersChair");
});

test("what can't be taken back is asked about first", () => {
  const chair = { userId: "a", role: "chair" };
  const asked = [...memberActions(chair, { userId: "b", role: "guest", audio: "on" }, onStage), ...conferenceActions({ locked: false, lobby: false })];
  assert.deepEqual(idsOf(asked.filter(({ confirm }) => confirm)), ["chair", "kick", "ban", "end"]);
});

test("lock and lobby are switched to what they are not", () => {
  const at = (conference) => Object.fromEntries(conferenceActions(conference).map((action) => [action.id, action]));
  assert.deepEqual(at({ locked: true, lobby: false }).lock.control, ["unlock", {}]);
  assert.deepEqual(at({ locked: false, lobby: true }).lobby.update, { lobby: false });
});

test("words are found for what concerns the reader, and for nothing else", () => {
  const former = { userId: "b", name: "B", role: "guest", audio: "on", hand: false };
  const before = { members: [former] };
  const said = (data, selfId, isChair, actor = "a") => wordsFor({ event: { type: "member.updated", data: { ...former, ...data }, actor }, before }, selfId, isChair)?.key;
  assert.equal(said({ audio: "forcedOff" }, "b", false), "notice.held");
  assert.equal(said({ audio: "off" }, "b", false), "notice.muted");
  assert.equal(said({ audio: "off" }, "b", false, "b"), undefined);
  assert.equal(said({ hand: true }, "a", true), "notice.hand");
  assert.equal(said({ hand: true }, "c", false), undefined);
  assert.equal(said({ role: "chair" }, "b", false), "notice.youChair");
});

test("a schema is told in a few words, through references", () => {
  const document = { components: { schemas: { Id: { type: "string", maxLength: 64 }, Loop: { $ref: "#/components/schemas/Loop" } } } };
  const resolve = resolver(document);
  assert.equal(typeText({ $ref: "#/components/schemas/Id" }, resolve), "string, at most 64 characters");
  assert.equal(typeText({ enum: ["on", null] }, resolve), '"on" | null');
  assert.equal(typeText({ type: "array", items: { type: "integer", minimum: 1, maximum: 50 } }, resolve), "list of integer, 1 to 50");
  assert.equal(typeText({ $ref: "#/components/schemas/Loop" }, resolve), "any");
  assert.equal(typeText({ $ref: "#/nowhere/at/all" }, resolve), "any");
});

test("members of objects and of lists of objects are listed by path", () => {
  const schema = {
    type: "object",
    required: ["member"],
    properties: {
      member: { anyOf: [{ type: "null" }, { type: "object", properties: { name: { type: "string" } } }] },
      links: { type: "array", items: { type: "object", properties: { url: { type: "string" } } } },
    },
  };
  const rows = memberRows(schema, resolver({}));
  assert.deepEqual(rows.map(({ path }) => path), ["member", "member.name", "links", "links[].url"]);
  assert.deepEqual(rows.map(({ isRequired }) => isRequired), [true, false, false, false]);
});

test("a schema that contains itself comes to an end", () => {
  const document = { components: { schemas: { Tree: { type: "object", properties: { child: { $ref: "#/components/schemas/Tree" } } } } } };
  assert.ok(memberRows({ $ref: "#/components/schemas/Tree" }, resolver(document)).length < 10);
});
