import assert from "node:assert/strict";
import test from "node:test";
import { advance, apply, find, fromSnapshot, SNAPSHOT_MESSAGES } from "../roster.js";

const member = (userId, joinedAt, rest = {}) => ({
  userId, name: userId, role: "guest", state: "joined", audio: "on", video: "off", hand: false, joinedAt, ...rest,
});
const conference = { confId: "c1", confName: "Review", state: 0, startAt: null, chair: "a", locked: false, lobby: false, mutePolicy: "free", mainVideo: null };
const snapshot = (rest = {}) => fromSnapshot({ confId: "c1", epoch: "e", seq: 5, conference, members: [member("a", 1)], ...rest });
const event = (seq, type, data, epoch = "e") => ({ confId: "c1", epoch, seq, time: 0, type, actor: null, data });
const ids = (list) => list.map(({ userId }) => userId);

test("a snapshot without waiting list and messages is a whole roster", () => {
  assert.deepEqual(snapshot().waiting, []);
  assert.deepEqual(snapshot().messages, []);
});

test("the next event is applied and counted", () => {
  const { outcome, roster } = advance(snapshot(), event(6, "member.joined", member("b", 2)));
  assert.equal(outcome, "applied");
  assert.equal(roster.seq, 6);
  assert.deepEqual(ids(roster.members), ["a", "b"]);
});

test("a repeat changes nothing", () => {
  const before = snapshot();
  assert.deepEqual(advance(before, event(5, "member.left", { userId: "a", reason: "left" })), { outcome: "repeat", roster: before });
});

test("a missing event is noticed", () => {
  assert.equal(advance(snapshot(), event(7, "member.joined", member("b", 2))).outcome, "gap");
});

test("a new epoch is a gap even if its number fits", () => {
  assert.equal(advance(snapshot(), event(6, "member.joined", member("b", 2), "other")).outcome, "gap");
});

test("members stand in order of joining, then of id", () => {
  let roster = snapshot();
  for (const joiner of [member("d", 9), member("c", 4), member("b", 4)]) roster = apply(roster, { type: "member.joined", data: joiner });
  assert.deepEqual(ids(roster.members), ["a", "b", "c", "d"]);
});

test("an update takes the place that the time of joining gives", () => {
  let roster = apply(snapshot(), { type: "member.joined", data: member("b", 2) });
  roster = apply(roster, { type: "member.updated", data: member("a", 3, { hand: true }) });
  assert.deepEqual(ids(roster.members), ["b", "a"]);
  assert.equal(find(roster, "a").hand, true);
});

test("those who wait are apart from the members", () => {
  let roster = apply(snapshot(), { type: "waiting.added", data: member("w", 7, { state: "waiting" }) });
  assert.deepEqual(ids(roster.members), ["a"]);
  assert.equal(find(roster, "w").state, "waiting");
  roster = apply(roster, { type: "waiting.removed", data: { userId: "w", reason: "denied" } });
  assert.equal(find(roster, "w"), undefined);
});

test("the end empties the conference", () => {
  const roster = apply(snapshot({ waiting: [member("w", 7)] }), { type: "conference.ended", data: { ...conference, state: 31 } });
  assert.equal(roster.conference.state, 31);
  assert.deepEqual([roster.members, roster.waiting], [[], []]);
});

test("only the newest messages are kept", () => {
  let roster = snapshot();
  for (let n = 0; n <= SNAPSHOT_MESSAGES; n += 1) roster = apply(roster, { type: "message", data: { messageId: `m${n}`, userId: "a", text: "", time: n } });
  assert.equal(roster.messages.length, SNAPSHOT_MESSAGES);
  assert.equal(roster.messages[0].messageId, "m1");
});

test("an unknown event counts and changes nothing else", () => {
  const { outcome, roster } = advance(snapshot(), event(6, "member.waved", member("b", 2)));
  assert.equal(outcome, "applied");
  assert.deepEqual(roster, { ...snapshot(), seq: 6 });
});
