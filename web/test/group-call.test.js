import assert from "node:assert/strict";
import test from "node:test";
import { GroupCall } from "../call/group-call.js";
import { ownerOf, sourceOf, streamOf } from "../call/streams.js";

const allocation = { gatewayId: "cg1", url: "wss://one/callgw", token: "T", iceServers: [{ urls: ["turn:t"] }], fallbacks: ["wss://two/callgw"] };

/** A call whose gateway and browser are this test. `take` gives what is done for an input, `sent` the messages among it. */
function scene() {
  const call = new GroupCall({ self: "me", room: "c1", random: () => 0.5 });
  const take = (is, rest = {}) => call.step({ is, ...rest });
  const sent = (is, rest) => take(is, rest).filter((action) => action.do === "send").map(({ message }) => message);
  const hear = (message) => take("message", { message });
  const opened = (actions) => actions.filter((action) => action.do === "open").map(({ stream }) => stream);
  const phase = (stream) => call.streams.links.get(stream)?.phase;
  const about = (stream, is, rest = {}) => take(is, { stream, generation: call.streams.links.get(stream).generation, ...rest });
  const join = (...names) => {
    take("start");
    take("allocated", { gateway: allocation });
    take("opened");
    return hear({ id: "existingParticipants", data: names });
  };
  const connect = (stream) => {
    about(stream, "offer", { sdp: "o" });
    hear({ id: "receiveVideoAnswer", name: stream, sdpAnswer: "a" });
    about(stream, "connected");
    about(stream, "media");
  };
  return { call, take, sent, hear, opened, phase, about, join, connect };
}

const names = (actions) => actions.map((action) => action.do);
const timers = (actions) => actions.filter((action) => action.do === "timer").map(({ name }) => name);

test("the way in: allocate, connect, join, publish what is captured, receive everybody else", () => {
  const { call, take, sent, hear, opened } = scene();
  assert.deepEqual(take("start"), [{ do: "allocate" }]);
  take("publish", { source: "camera", isWanted: true });
  const connecting = take("allocated", { gateway: allocation });
  assert.deepEqual(connecting[0], { do: "connect", url: "wss://one/callgw", token: "T" });
  assert.deepEqual(sent("opened"), [{ id: "joinRoom", name: "me", room: "c1" }]);
  const joined = hear({ id: "existingParticipants", data: ["a", "b", "b/screen", "me"] });
  assert.deepEqual(opened(joined), ["me", "a", "b", "b/screen"]);
  assert.deepEqual(joined.find(({ stream }) => stream === "me").direction, "send");
  assert.deepEqual(joined.find(({ stream }) => stream === "a").iceServers, allocation.iceServers);
  assert.equal(call.phase, "joined");
  assert.deepEqual(opened(hear({ id: "newParticipantArrived", name: "c" })), ["c"]);
  assert.deepEqual(opened(hear({ id: "newParticipantArrived", name: "c" })), [], "said twice, received once");
});

test("somebody without a device only watches", () => {
  const { join, opened } = scene();
  assert.deepEqual(opened(join("a")), ["a"]);
});

test("our candidates wait for the offer, the gateway's for its answer", () => {
  const { join, about, hear } = scene();
  join("a");
  assert.deepEqual(about("a", "ourCandidate", { candidate: { candidate: "1" } }), []);
  assert.deepEqual(hear({ id: "iceCandidate", name: "a", candidate: { candidate: "x" } }), []);
  const offered = about("a", "offer", { sdp: "o" }).map(({ message }) => message);
  assert.deepEqual(offered, [
    { id: "receiveVideoFrom", sender: "a", sdpOffer: "o" },
    { id: "onIceCandidate", candidate: { candidate: "1" }, name: "a" },
  ]);
  const answered = hear({ id: "receiveVideoAnswer", name: "a", sdpAnswer: "s" }).filter((action) => ["answer", "candidate"].includes(action.do));
  assert.deepEqual(names(answered), ["answer", "candidate"]);
  assert.deepEqual(answered[1].candidate, { candidate: "x" });
  assert.deepEqual(names(hear({ id: "iceCandidate", name: "a", candidate: { candidate: "y" } })), ["candidate"]);
  assert.deepEqual(names(hear({ id: "receiveVideoAnswer", name: "a", sdpAnswer: "again" })), [], "an answer is taken once");
});

test("what is said of streams that aren't there, and what makes no sense, changes nothing", () => {
  const { join, hear, call } = scene();
  join();
  for (const message of [
    { id: "iceCandidate", name: "x", candidate: {} },
    { id: "receiveVideoAnswer", name: "x", sdpAnswer: "s" },
    { id: "participantLeft", name: "x" },
    { id: "participantLeft", name: "me" },
    { id: "newParticipantArrived", name: 7 },
    { id: "newParticipantArrived", name: "me/screen" },
    { id: "existingParticipants", data: ["late"] },
    { id: "somethingNew" },
    {},
  ]) assert.deepEqual(hear(message), [], JSON.stringify(message));
  assert.equal(call.streams.links.size, 0);
});

test("a tile's phases, as seen from outside", () => {
  const { join, about, phase, hear } = scene();
  join("a");
  assert.equal(phase("a"), "connecting");
  about("a", "offer", { sdp: "o" });
  hear({ id: "receiveVideoAnswer", name: "a", sdpAnswer: "s" });
  about("a", "connected");
  assert.equal(phase("a"), "waiting");
  about("a", "media");
  assert.equal(phase("a"), "live");
  assert.deepEqual(timers(about("a", "interrupted")), ["ice:a"]);
  assert.equal(phase("a"), "reconnecting");
  about("a", "connected");
  assert.equal(phase("a"), "live", "the same packets flow again");
});

test("a stream lost alone is received again; lost twice, or with all others, another gateway is asked for", () => {
  const { join, about, take, connect, phase, opened, call } = scene();
  join("a", "b");
  connect("a");
  connect("b");
  const lost = about("a", "lost", { problem: "iceFailed" });
  assert.ok(lost.some((action) => action.do === "report" && action.problem === "iceFailed" && action.gatewayId === "cg1"));
  assert.deepEqual([phase("a"), phase("b"), timers(lost)], ["reconnecting", "live", ["again:a"]]);
  assert.deepEqual(opened(take("timer", { name: "again:a" })), ["a"]);
  about("a", "lost", { problem: "iceFailed" });
  assert.equal(call.phase, "paused");
  assert.deepEqual(take("timer", { name: "retry" }), [{ do: "allocate" }]);
});

test("a stream that was tried three times has failed, and is tried on", () => {
  const { call, join, about, take, phase, hear } = scene();
  join("a");
  for (let attempt = 0; attempt < 3; attempt += 1) {
    about("a", "lost", { problem: "iceFailed" });
    take("timer", { name: "retry" });
    take("allocated", { gateway: allocation });
    take("opened");
    hear({ id: "existingParticipants", data: ["a"] });
  }
  assert.deepEqual([phase("a"), call.phase], ["failed", "joined"]);
  about("a", "offer", { sdp: "o" });
  hear({ id: "receiveVideoAnswer", name: "a", sdpAnswer: "s" });
  about("a", "connected");
  assert.equal(phase("a"), "waiting");
});

test("an offer that nobody answers means a new socket, since a late answer could be taken for another's", () => {
  const { join, about, take, call } = scene();
  join("a");
  about("a", "offer", { sdp: "o" });
  const given = take("timer", { name: "answer:a" });
  assert.ok(names(given).includes("disconnect"));
  assert.deepEqual([call.phase, given.find((action) => action.do === "report").problem], ["paused", "answerTimeout"]);
});

test("a move keeps every stream's place, publishes and receives again, and what doesn't come goes after a while", () => {
  const { join, connect, take, hear, phase, opened, call } = scene();
  take("publish", { source: "camera", isWanted: true });
  join("a", "b");
  for (const stream of ["me", "a", "b"]) connect(stream);
  const moved = take("changed", { to: "cg2" });
  assert.ok(names(moved).includes("disconnect"));
  assert.ok(!names(moved).includes("forget"), "pictures stay");
  assert.deepEqual(["me", "a", "b"].map(phase), ["reconnecting", "reconnecting", "reconnecting"]);
  take("timer", { name: "retry" });
  take("allocated", { gateway: { ...allocation, gatewayId: "cg2", url: "wss://three" } });
  take("opened");
  const joined = hear({ id: "existingParticipants", data: ["a"] });
  assert.deepEqual([opened(joined), timers(joined).includes("missing:b")], [["me", "a"], true]);
  const gone = take("timer", { name: "missing:b" });
  assert.ok(gone.some((action) => action.do === "forget" && action.stream === "b"));
  assert.equal(call.streams.links.has("b"), false);
});

test("to be told of the gateway that one is at already, or of one that others leave, moves nobody", () => {
  const { join, take, call } = scene();
  join("a");
  assert.deepEqual(take("changed", { to: "cg1" }), []);
  assert.deepEqual(take("changed", { from: "cg2", to: "cg3" }), []);
  assert.equal(call.phase, "joined");
  assert.ok(names(take("changed", { to: null })).includes("disconnect"));
});

test("a member who leaves keeps a place for a while, a screen that is no longer shared does not", () => {
  const { join, connect, hear, phase } = scene();
  join("a", "a/screen");
  connect("a");
  assert.ok(names(hear({ id: "participantLeft", name: "a/screen" })).includes("forget"));
  assert.deepEqual(timers(hear({ id: "participantLeft", name: "a" })), ["missing:a"]);
  assert.equal(phase("a"), "reconnecting");
  hear({ id: "newParticipantArrived", name: "a" });
  assert.equal(phase("a"), "reconnecting");
  connect("a");
  assert.equal(phase("a"), "live");
});

test("words of a former connection are stale", () => {
  const { join, take, about, phase, connect } = scene();
  join("a", "b");
  connect("b");
  about("a", "lost", { problem: "iceFailed" });
  take("timer", { name: "again:a" });
  assert.deepEqual(take("connected", { stream: "a", generation: 1 }), []);
  assert.equal(phase("a"), "connecting");
});

test("an address that can't be reached gives way to the next, and then to another allocation", () => {
  const { take, call } = scene();
  take("start");
  take("allocated", { gateway: allocation });
  const next = take("closed", { code: 1006 });
  assert.ok(next.some((action) => action.do === "report" && action.problem === "connectFailed"));
  assert.ok(next.some((action) => action.do === "connect" && action.url === "wss://two/callgw"));
  take("closed", { code: 1006 });
  assert.equal(call.phase, "paused");
  take("timer", { name: "retry" });
  assert.equal(call.phase, "allocating");
});

test("a token that is no longer taken is no reason to try the other addresses with it", () => {
  const { take, call } = scene();
  take("start");
  take("allocated", { gateway: allocation });
  assert.ok(!names(take("closed", { code: 4001 })).includes("connect"));
  assert.equal(call.phase, "paused");
});

test("expelled, replaced and over are final", () => {
  for (const code of [4003, 4004, 4009]) {
    const { join, take, call } = scene();
    join("a");
    assert.deepEqual(timers(take("closed", { code })), []);
    assert.equal(call.phase, "ended");
    take("changed", { to: "cg2" });
    assert.equal(call.phase, "ended");
  }
});

test("without a gateway one asks again, later each time", () => {
  const { take, call } = scene();
  take("start");
  const waits = [1, 2, 3].map(() => {
    const [timer] = take("notAllocated", { problem: "callgw.none" }).filter((action) => action.name === "retry" && action.do === "timer");
    take("timer", { name: "retry" });
    return timer.ms;
  });
  assert.ok(waits[0] < waits[1] && waits[1] < waits[2], String(waits));
  assert.equal(call.problem, "callgw.none");
  const told = take("notAllocated", { problem: "http.tooMany", retryAfterMs: 9_000 });
  assert.equal(told.find((action) => action.do === "timer").ms, 9_000);
});

test("a shared screen is a second stream, and its end is told", () => {
  const { join, take, sent, about, opened } = scene();
  join();
  assert.deepEqual(opened(take("publish", { source: "screen", isWanted: true })), ["me/screen"]);
  assert.deepEqual(take("publish", { source: "screen", isWanted: true }), []);
  about("me/screen", "offer", { sdp: "o" });
  assert.deepEqual(sent("publish", { source: "screen", isWanted: false }), [{ id: "cancelVideoFrom", sender: "me/screen" }]);
});

test("sizes are told once each, after the offer, and again on a new connection", () => {
  const { join, sent, about, take } = scene();
  assert.deepEqual(sent("view", { stream: "a", width: 192, height: 108 }), []);
  join("a");
  const view = (width, height) => ({ id: "view", sender: "a", width, height });
  assert.deepEqual(about("a", "offer", { sdp: "o" }).at(-1).message, view(192, 108));
  assert.deepEqual(sent("view", { stream: "a", width: 192, height: 108 }), []);
  assert.deepEqual(sent("view", { stream: "a", width: 0, height: 0 }), [view(0, 0)]);
  take("changed", { to: "cg2" });
  take("timer", { name: "retry" });
  take("allocated", { gateway: { ...allocation, gatewayId: "cg2" } });
  take("opened");
  take("message", { message: { id: "existingParticipants", data: ["a"] } });
  assert.deepEqual(about("a", "offer", { sdp: "o" }).at(-1).message, view(0, 0));
});

test("who speaks, and what of one's own is forwarded, is known until the room is left", () => {
  const { join, hear, call, take } = scene();
  join("a");
  hear({ id: "speaker", name: "a" });
  hear({ id: "enforce", audio: false, video: true });
  assert.deepEqual([call.speaker, call.forwarded], ["a", { audio: false, video: true }]);
  hear({ id: "speaker", name: null });
  assert.equal(call.speaker, null);
  take("stop");
  assert.equal(call.phase, "off");
});

test("a refused offer is made again later", () => {
  const { join, hear, phase, take, opened, about } = scene();
  join("a");
  about("a", "offer", { sdp: "o" });
  assert.deepEqual(timers(hear({ id: "error", code: "overloaded", name: "a" })), ["again:a"]);
  assert.equal(phase("a"), "failed");
  assert.deepEqual(opened(take("timer", { name: "again:a" })), ["a"]);
});

test("a gateway that can't answer our offer offers the stream, and has our answer", () => {
  const { join, about, hear, phase } = scene();
  join("a");
  about("a", "offer", { sdp: "o" });
  const asked = hear({ id: "error", code: "payloadTypes", name: "a" });
  assert.deepEqual(asked.filter((action) => action.do === "send").map(({ message }) => message), [{ id: "receiveVideoFrom", sender: "a" }]);
  assert.deepEqual(names(asked).filter((what) => what === "open"), [], "nothing is offered again");
  assert.deepEqual(names(hear({ id: "iceCandidate", name: "a", candidate: { candidate: "x" } })), []);
  const [respond] = hear({ id: "receiveVideoOffer", name: "a", sdpOffer: "theirs" });
  assert.deepEqual({ do: respond.do, stream: respond.stream, sdp: respond.sdp, of: respond.of }, { do: "respond", stream: "a", sdp: "theirs", of: "a" });
  about("a", "ourCandidate", { candidate: { candidate: "1" } });
  const answered = about("a", "response", { sdp: "ours" });
  assert.deepEqual(answered.filter((action) => action.do === "send").map(({ message }) => message), [
    { id: "receiveVideoAnswer", sender: "a", sdpAnswer: "ours" },
    { id: "onIceCandidate", candidate: { candidate: "1" }, name: "a" },
  ]);
  assert.deepEqual(answered.filter((action) => action.do === "candidate").map(({ candidate }) => candidate), [{ candidate: "x" }]);
  assert.deepEqual(hear({ id: "receiveVideoOffer", name: "a", sdpOffer: "again" }), [], "an offer is taken once");
  about("a", "connected");
  about("a", "media");
  assert.equal(phase("a"), "live");
});

test("a path that the gateway takes for lost is lost for the page too", () => {
  const { join, connect, hear, take, phase } = scene();
  take("publish", { source: "camera", isWanted: true });
  join("a");
  connect("a");
  connect("me");
  const lost = hear({ id: "error", code: "iceFailed", name: "a" });
  assert.ok(lost.some((action) => action.do === "report" && action.problem === "iceFailed"));
  assert.ok(lost.some((action) => action.do === "timer" && action.name === "again:a"), "it is offered anew");
  assert.equal(phase("me"), "live");
});

test("a codec that one side lacks is told, and the rest of the stream goes on", () => {
  const { join, connect, hear, take, phase } = scene();
  take("publish", { source: "camera", isWanted: true });
  join("a");
  connect("a");
  assert.deepEqual(hear({ id: "error", code: "noCommonCodec", name: "a" }), [{ do: "tell", key: "media.codecOfTheirs" }]);
  assert.deepEqual(hear({ id: "error", code: "noCommonCodec", name: "me" }), [{ do: "tell", key: "media.codecOfOurs" }]);
  assert.equal(phase("a"), "live");
});

test("a codec that all viewers need is offered anew at once, until another gateway is joined", () => {
  const { join, connect, hear, take, sent, opened } = scene();
  take("publish", { source: "camera", isWanted: true });
  join("a");
  connect("me");
  connect("a");
  const asked = hear({ id: "preferCodec", name: "me", codec: "H264" });
  assert.deepEqual(names(asked).filter((what) => what === "close" || what === "open"), ["close", "open"]);
  assert.equal(asked.find(({ do: what }) => what === "open").codec, "H264");
  assert.deepEqual(hear({ id: "preferCodec", name: "me", codec: "H264" }), [], "it is offered already");
  for (const name of ["a", "nobody", 7]) assert.deepEqual(hear({ id: "preferCodec", name, codec: "VP9" }), [], "not one's own");
  assert.deepEqual(hear({ id: "preferCodec", name: "me" }), []);
  take("closed", { code: 1006 });
  take("timer", { name: "retry" });
  take("allocated", { gateway: allocation });
  sent("opened");
  const joined = hear({ id: "existingParticipants", data: ["a"] });
  assert.deepEqual(opened(joined), ["me", "a"]);
  assert.equal(joined.find(({ stream }) => stream === "me").codec, undefined);
});

test("no way to the gateway is known as such until there is one", () => {
  const { call, join, about, take, connect } = scene();
  join("a");
  about("a", "offer", { sdp: "o" });
  assert.equal(call.streams.hasNoPath, false);
  about("a", "lost", { problem: "iceFailed" });
  assert.equal(call.streams.hasNoPath, true);
  take("timer", { name: "retry" });
  take("allocated", { gateway: allocation });
  take("opened");
  call.step({ is: "message", message: { id: "existingParticipants", data: ["a"] } });
  assert.equal(call.streams.hasNoPath, true, "entering the room is no way for sound and picture");
  connect("a");
  assert.equal(call.streams.hasNoPath, false);
});

test("leaving says so, and closes everything", () => {
  const { join, take, call } = scene();
  join("a");
  const left = take("stop");
  assert.deepEqual(left[0].message, { id: "leaveRoom" });
  assert.ok(names(left).includes("forget") && names(left).includes("disconnect"));
  assert.equal(call.streams.links.size, 0);
});

test("streams bear their member's name", () => {
  assert.deepEqual([streamOf("u", "camera"), streamOf("u", "screen")], ["u", "u/screen"]);
  assert.deepEqual([ownerOf("u/screen"), ownerOf("u"), sourceOf("u/screen"), sourceOf("u")], ["u", "u", "screen", "camera"]);
});
