import assert from "node:assert/strict";
import test from "node:test";
import { CATALOGUES } from "../i18n.js";
import { parseChoice, troubleKey, UNCHOSEN } from "../call/devices.js";
import { withDtx } from "../call/sdp.js";
import { sizeFor } from "../call/view-sizes.js";
import { statusOf } from "../tile.js";
import { memberActions } from "../actions.js";
import { arrange } from "../layout.js";

test("each reason why a device can't be had has words in both languages", () => {
  for (const device of ["microphone", "camera"]) {
    for (const name of ["NotAllowedError", "SecurityError", "NotFoundError", "OverconstrainedError", "NotReadableError", "AbortError", "TypeError", undefined]) {
      const key = troubleKey(device, { name });
      assert.ok(CATALOGUES.en[key] && CATALOGUES.zh[key], key);
    }
  }
  assert.equal(troubleKey("camera", { name: "NotAllowedError" }), "device.camera.denied");
  assert.equal(troubleKey("microphone", { name: "NotReadableError" }), "device.microphone.busy");
});

test("a stored choice is taken as far as it makes sense", () => {
  assert.deepEqual(parseChoice(null), UNCHOSEN);
  assert.deepEqual(parseChoice("null"), UNCHOSEN);
  assert.deepEqual(parseChoice("{not json"), UNCHOSEN);
  assert.deepEqual(parseChoice('{"camera":7,"volume":300,"level":-1}'), UNCHOSEN);
  assert.deepEqual(parseChoice('{"camera":"c","microphone":"m","volume":30.4,"level":0}'), { camera: "c", microphone: "m", volume: 30, level: 0 });
});

test("the gateway's answer asks for silence to cost nothing, once", () => {
  const answer = ["m=audio 9 UDP/TLS/RTP/SAVPF 111 0", "a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1", "a=rtpmap:0 PCMU/8000", ""].join("\r\n");
  const asked = withDtx(answer);
  assert.ok(asked.includes("a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1\r\n"), asked);
  assert.equal(withDtx(asked), asked);
  const bare = withDtx("a=rtpmap:96 opus/48000/2\r\na=mid:0\r\n");
  assert.equal(bare, "a=rtpmap:96 opus/48000/2\r\na=fmtp:96 usedtx=1\r\na=mid:0\r\n");
  assert.equal(withDtx("a=rtpmap:96 VP8/90000\r\n"), "a=rtpmap:96 VP8/90000\r\n");
});

test("a stream is asked for at the largest size at which it is seen, in the screen's pixels", () => {
  const place = (width, height, isSeen = true) => ({ width, height, isSeen });
  assert.deepEqual(sizeFor([place(192, 108), place(960, 540)], 2), { width: 1920, height: 1080 });
  assert.deepEqual(sizeFor([place(192, 108, false)], 1), { width: 0, height: 0 });
  assert.deepEqual(sizeFor([], 1), { width: 0, height: 0 });
});

test("a tile says what is amiss with its picture, and nothing where none is expected", () => {
  const member = (state, video) => ({ state, video });
  const camera = { isScreen: false, isSelf: false };
  assert.equal(statusOf(member("joined", "on"), camera, "live"), null);
  assert.equal(statusOf(member("joined", "on"), camera, "waiting"), "media.waiting");
  assert.equal(statusOf(member("joined", "off"), camera, "waiting"), null);
  assert.equal(statusOf(member("joined", "off"), camera, "failed"), "media.failed");
  assert.equal(statusOf(member("reconnecting", "on"), camera, "live"), "member.reconnecting");
  assert.equal(statusOf(member("joined", "off"), { isScreen: true, isSelf: false }, "connecting"), "media.connecting");
  assert.equal(statusOf(member("joined", "on"), { isScreen: false, isSelf: true }, "connecting"), null);
  assert.equal(statusOf(member("joined", "on"), { isScreen: false, isSelf: true }, "failed"), "media.failed");
});

const people = (...ids) => ids.map((userId, at) => ({ userId, video: "on", audio: "on", role: "member", hand: false, joinedAt: at }));
const stage = (members, mainVideo = null) => ({ members, conference: { mainVideo, chair: "chair" } });
const noChoice = { picked: null, closed: new Set() };

test("who speaks is the main video unless the chair or a shared screen says otherwise", () => {
  const all = people("me", "b", "chair", "d");
  const main = (roster, call, choice = noChoice) => arrange(roster, "me", choice, { screens: [], speaker: null, ...call }).main;
  assert.equal(main(stage(all), { speaker: "d" }), "d");
  assert.equal(main(stage(all), { speaker: "me" }), "chair", "one doesn't look at oneself for speaking");
  assert.equal(main(stage(all, "b"), { speaker: "d" }), "b");
  assert.equal(main(stage(all), { speaker: "d", screens: ["b/screen"] }), "b/screen");
  assert.equal(main(stage(all, "chair"), { screens: ["b/screen"] }), "chair");
  assert.equal(main(stage(all, "b"), { screens: ["b/screen", "d/screen"] }), "b/screen");
  assert.equal(main(stage(all), { screens: ["b/screen"] }, { picked: "d", closed: new Set() }), "d");
});

test("a screen stands beside its owner, and can be closed without them", () => {
  const all = people("me", "b", "chair", "d");
  const call = { screens: ["b/screen"], speaker: null };
  assert.deepEqual(arrange(stage(all), "me", { picked: "chair", closed: new Set() }, call).strip, ["b", "b/screen", "d"]);
  assert.deepEqual(arrange(stage(all), "me", { picked: "chair", closed: new Set(["b/screen"]) }, call).strip, ["b", "d"]);
  assert.equal(arrange(stage(all), "me", noChoice, call).corner, true);
});

test("a screen that was closed can be shown again, from its owner's menu", () => {
  const [self, other] = people("me", "b");
  const ids = (closedScreen) => memberActions(self, other, { mainVideo: null, picked: null, isClosed: false, closedScreen }).map(({ id }) => id);
  assert.deepEqual(ids(undefined), ["pick", "hide"]);
  assert.deepEqual(ids("b/screen"), ["pick", "hide", "reopen-screen"]);
});
