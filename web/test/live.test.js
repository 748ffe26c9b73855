import assert from "node:assert/strict";
import test from "node:test";
import { LiveConference } from "../live.js";
import { RpcError } from "../rpc.js";

const conference = { confId: "c1", confName: "Review", state: 0, startAt: null, chair: "a", locked: false, lobby: false, mutePolicy: "free", mainVideo: null };
const member = (userId, rest = {}) => ({ userId, name: userId, role: "guest", state: "joined", audio: "on", video: "off", hand: false, joinedAt: 1, ...rest });
const refusal = (code, key, data = {}) => new RpcError(code, key, { key, ...data });

/** A conference whose server is this test: it answers calls, and says what it likes on the socket. */
function scene(answers = {}) {
  const calls = [];
  const socket = {
    isOpen: false,
    opened: 0,
    restarted: 0,
    open: () => (socket.opened += 1),
    close: () => (socket.isClosed = true),
    restart: () => (socket.restarted += 1),
  };
  const rpc = {
    session: { userId: "me" },
    call: async (method, params) => {
      calls.push(method);
      const answer = answers[method] ?? {};
      if (answer instanceof Error) throw answer;
      return answer;
    },
  };
  let owner;
  const live = new LiveConference("c1", rpc, (given) => ((owner = given), socket));
  const snapshot = (rest) => owner.onNotice("conference.snapshot", { confId: "c1", epoch: "e", seq: 5, reason: "join", conference, members: [], ...rest });
  const event = (seq, type, data) => owner.onNotice("conference.event", { confId: "c1", epoch: "e", seq, time: 0, type, actor: null, data });
  return { live, socket, owner, calls, snapshot, event };
}

const entered = { "conference.join": { member: member("me", { state: "reconnecting" }) } };
const knocked = { "conference.join": { member: member("me", { state: "waiting" }) } };

test("one is in with the first snapshot, joined before the socket is opened", async (t) => {
  t.mock.timers.enable();
  const { live, socket, calls, snapshot } = scene(entered);
  await live.enter();
  assert.deepEqual([calls, socket.opened, live.phase], [["conference.join"], 1, "connecting"]);
  snapshot({ members: [member("me")] });
  assert.equal(live.phase, "in");
});

test("a reload comes back without joining", async (t) => {
  t.mock.timers.enable();
  const { live, owner, calls, snapshot } = scene();
  live.comeBack();
  owner.onState("open");
  snapshot({ members: [member("me")] });
  assert.deepEqual([live.phase, calls], ["in", []]);
});

test("a reload after the seat is gone joins again", async (t) => {
  t.mock.timers.enable();
  const { live, owner, calls, snapshot } = scene(entered);
  live.comeBack();
  owner.onState("open");
  snapshot({});
  assert.deepEqual(calls, ["conference.join"]);
});

test("no snapshot in time joins too", (t) => {
  t.mock.timers.enable();
  const { live, owner, calls } = scene(entered);
  live.comeBack();
  owner.onState("open");
  t.mock.timers.tick(4_000);
  assert.deepEqual(calls, ["conference.join"]);
});

test("who waits is in when a snapshot says so", async () => {
  const { live, snapshot } = scene(knocked);
  await live.enter();
  assert.equal(live.phase, "waiting");
  snapshot({ members: [member("me", { state: "waiting" })] });
  assert.equal(live.phase, "waiting");
  snapshot({ members: [member("a", { role: "chair" }), member("me")] });
  assert.equal(live.phase, "in");
});

test("a close as kicked while waiting means denied", async () => {
  const { live, owner } = scene(knocked);
  await live.enter();
  owner.onEnd(4003, "");
  assert.deepEqual([live.phase, live.reason], ["over", "denied"]);
});

test("each way out has its reason", () => {
  const outs = [
    [({ event }) => event(6, "member.left", { userId: "me", reason: "kicked" }), "kicked"],
    [({ event }) => event(6, "member.left", { userId: "me", reason: "banned" }), "banned"],
    [({ event }) => event(6, "conference.ended", { ...conference, state: 31 }), "ended"],
    [({ owner }) => owner.onEnd(4003, ""), "kicked"],
    [({ owner }) => owner.onEnd(4004, ""), "ended"],
    [({ owner }) => owner.onEnd(4009, ""), "takenOver"],
    [({ owner }) => owner.onEnd("signedOut", ""), "signedOut"],
  ];
  for (const [happens, reason] of outs) {
    const at = scene();
    at.snapshot({ members: [member("me")] });
    happens(at);
    assert.deepEqual([at.live.phase, at.live.reason, at.socket.isClosed], ["over", reason, true]);
  }
});

test("the first reason stays", () => {
  const { live, owner, event, snapshot } = scene();
  snapshot({ members: [member("me")] });
  event(6, "member.left", { userId: "me", reason: "banned" });
  owner.onEnd(4003, "");
  assert.equal(live.reason, "banned");
});

test("a refused join says why, by the conference's state or by the refusal itself", async () => {
  const cases = [
    [refusal(-32006, "conference.notStarted", { state: 30 }), "notStarted"],
    [refusal(-32006, "conference.ended", { state: 31 }), "ended"],
    [refusal(-32004, "conference.notFound"), "unknown"],
    [refusal(-32003, "conference.locked"), "refused"],
    [refusal(-32001, "auth.required"), "signedOut"],
  ];
  for (const [error, reason] of cases) {
    const { live } = scene({ "conference.join": error });
    await live.enter();
    assert.equal(live.reason, reason);
  }
});

test("a join that may succeed later is tried later", async (t) => {
  t.mock.timers.enable();
  const { live, calls } = scene({ "conference.join": refusal(-32029, "http.tooMany", { retryAfterMs: 3_000 }) });
  await live.enter();
  assert.equal(live.phase, "connecting");
  t.mock.timers.tick(2_999);
  assert.equal(calls.length, 1);
  t.mock.timers.tick(1);
  assert.equal(calls.length, 2);
});

test("a gap asks for a snapshot, and stale events do no harm meanwhile", () => {
  const { live, owner, socket, snapshot, event } = scene();
  snapshot({ members: [member("me")] });
  assert.deepEqual(owner.positions(), [{ confId: "c1", epoch: "e", seq: 5 }]);
  event(8, "member.joined", member("b"));
  assert.deepEqual([socket.restarted, owner.positions()], [1, []]);
  event(9, "member.joined", member("c"));
  assert.equal(live.roster.members.length, 1);
  snapshot({ seq: 9, members: [member("me"), member("c")] });
  assert.deepEqual([live.phase, live.roster.members.length, owner.positions()[0].seq], ["in", 2, 9]);
});

test("who timed out while away joins again by themselves", () => {
  const { live, calls, snapshot, event } = scene(entered);
  snapshot({ members: [member("me")] });
  event(6, "member.left", { userId: "me", reason: "timeout" });
  assert.deepEqual([calls, live.phase], [["conference.join"], "in"]);
});

test("an expired login shows when the connection is refused", async () => {
  const { live, owner } = scene({ "conference.get": refusal(-32001, "auth.required") });
  assert.equal(await owner.onRefused(), "stop");
  assert.equal(live.reason, "signedOut");
});

test("a server out of reach is no reason to give up", async () => {
  const { owner } = scene({ "conference.get": new RpcError(0, "", { key: "net.unreachable" }) });
  assert.equal(await owner.onRefused(), "retry");
});

test("troubles are shown until they are over", () => {
  const { live, owner } = scene();
  owner.onNotice("degraded", { part: "eim", since: 1 });
  assert.deepEqual([...live.troubles], ["eim"]);
  owner.onNotice("restored", { part: "eim" });
  assert.deepEqual([...live.troubles], []);
});

test("what another window took over is taken back with a fresh snapshot", () => {
  const { live, owner, socket, snapshot } = scene();
  snapshot({ members: [member("me")] });
  owner.onEnd(4009, "");
  live.takeBack();
  assert.deepEqual([live.phase, live.reason, socket.opened, owner.positions()], ["connecting", null, 1, []]);
  snapshot({ members: [member("me")] });
  assert.equal(live.phase, "in");
});

test("who waits names no position, and hears only what concerns them", async () => {
  const { live, owner, socket, snapshot, event } = scene(knocked);
  await live.enter();
  snapshot({ waiting: [member("me", { state: "waiting" })] });
  assert.deepEqual(owner.positions(), []);
  event(9, "member.joined", member("b"));
  assert.deepEqual([live.phase, socket.restarted], ["waiting", 0]);
  event(12, "waiting.removed", { userId: "me", reason: "denied" });
  assert.equal(live.reason, "denied");
});

test("a new chair who was not told who waits asks for it, once", () => {
  const { socket, snapshot, event } = scene();
  snapshot({ members: [member("me")] });
  event(6, "member.updated", member("me", { role: "chair" }));
  assert.equal(socket.restarted, 1);
  snapshot({ seq: 6, members: [member("me", { role: "chair" })], waiting: [] });
  event(7, "member.joined", member("b"));
  assert.equal(socket.restarted, 1);
});

test("who ends the conference hears that it has ended, not that the connection is lost", async (t) => {
  t.mock.timers.enable();
  const answers = { ...entered };
  const { live, snapshot, event } = scene(answers);
  await live.enter();
  snapshot({ members: [member("me", { role: "chair" })] });
  answers["conference.control"] = refusal(0, "net.lost");
  const asked = live.control("end");
  event(6, "conference.ended", { ...conference, state: 31 });
  assert.deepEqual(await asked, {});
  assert.deepEqual([live.phase, live.reason], ["over", "ended"]);
});

test("the page hears of leaving before the server is asked", async (t) => {
  t.mock.timers.enable();
  const { live, calls, snapshot } = scene(entered);
  await live.enter();
  snapshot({ members: [member("me")] });
  let callsBefore = 0;
  live.addEventListener("leaving", () => (callsBefore = calls.length));
  const left = live.leave();
  assert.deepEqual([callsBefore, calls], [1, ["conference.join", "conference.leave"]]);
  await left;
  assert.equal(live.reason, "left");
});

test("a snapshot on the way out brings nobody back", async (t) => {
  t.mock.timers.enable();
  const { live, calls, snapshot } = scene(entered);
  await live.enter();
  snapshot({ members: [member("me")] });
  const left = live.leave();
  snapshot({ seq: 9, reason: "gap" });
  await left;
  assert.deepEqual([calls, live.reason], [["conference.join", "conference.leave"], "left"]);
});
