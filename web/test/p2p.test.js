import assert from "node:assert/strict";
import test from "node:test";
import { GroupCall } from "../call/group-call.js";
import { P2P_STREAM, stunOnly } from "../call/p2p.js";

const iceServers = [{ urls: ["turn:t:3478?transport=udp", "turns:t:5349"], username: "u", credential: "c" }];
const allocation = { gatewayId: "cg1", url: "wss://one/callgw", token: "T", mode: "p2p", iceServers, fallbacks: [] };

/** One side of a call between two; the gateway and the browser are this test. */
function scene(self = "me") {
  const call = new GroupCall({ self, room: "c1", random: () => 0.5 });
  const take = (is, rest = {}) => call.step({ is, ...rest });
  const hear = (message) => take("message", { message });
  const messages = (actions) => actions.filter((action) => action.do === "send").map(({ message }) => message);
  const did = (actions, what) => actions.find((action) => action.do === what);
  const about = (is, rest = {}) => take(is, { stream: P2P_STREAM, generation: call.p2p.link?.generation, ...rest });
  const join = (...names) => {
    take("start");
    take("publish", { source: "camera", isWanted: true });
    take("allocated", { gateway: allocation });
    take("opened");
    const joined = hear({ id: "existingParticipants", data: names });
    assert.equal(did(joined, "open"), undefined, "nothing is opened before the way is known");
    return hear({ id: "mode", mode: "p2p" });
  };
  return { call, take, hear, messages, did, about, join };
}

test("who comes second offers, and candidates wait for what they belong to", () => {
  const { call, hear, messages, did, about, join } = scene();
  const opened = did(join("anna"), "open");
  assert.deepEqual([opened.stream, opened.of, opened.direction], [P2P_STREAM, "anna", "both"]);
  assert.deepEqual(opened.iceServers, [{ urls: ["stun:t:3478"] }], "nobody relays between browsers but the gateway");
  assert.deepEqual(about("ourCandidate", { candidate: { candidate: "1" } }), []);
  const offered = messages(about("offer", { sdp: "o" }));
  assert.deepEqual(offered[0], { id: "signal", to: "anna", description: { type: "offer", sdp: "o" } });
  assert.deepEqual(offered[1], { id: "signal", to: "anna", candidate: { candidate: "1" } });
  assert.deepEqual(hear({ id: "signal", from: "anna", candidate: { candidate: "x" } }), []);
  assert.deepEqual(hear({ id: "signal", from: "carl", description: { type: "answer", sdp: "no" } }), []);
  const answered = hear({ id: "signal", from: "anna", description: { type: "answer", sdp: "a" } });
  assert.equal(did(answered, "answer").sdp, "a");
  assert.deepEqual(did(answered, "candidate").candidate, { candidate: "x" });
  about("connected");
  about("media");
  assert.equal(call.p2p.link.phase, "live");
  assert.equal(call.streams.isJoined, false);
});

test("who was there answers the newcomer", () => {
  const { hear, messages, did, about, join } = scene();
  assert.equal(did(join(), "open"), undefined);
  hear({ id: "newParticipantArrived", name: "ben" });
  const responded = did(hear({ id: "signal", from: "ben", description: { type: "offer", sdp: "o" } }), "respond");
  assert.deepEqual([responded.of, responded.sdp], ["ben", "o"]);
  hear({ id: "signal", from: "ben", candidate: { candidate: "x" } });
  about("ourCandidate", { candidate: { candidate: "1" } });
  const said = about("response", { sdp: "a" });
  assert.deepEqual(messages(said).map((message) => message.description?.sdp ?? message.candidate.candidate), ["a", "1"]);
  assert.deepEqual(did(said, "candidate").candidate, { candidate: "x" });
});

/** Both ways are opened at the gateway, in the same room. */
function isThrough(actions) {
  const opened = actions.filter((action) => action.do === "open").map(({ stream, direction }) => `${direction} ${stream}`);
  assert.deepEqual(opened, ["send me", "receive anna"]);
  assert.ok(actions.some((action) => action.do === "close" && action.stream === P2P_STREAM));
  assert.ok(!actions.some((action) => action.do === "connect" || action.do === "disconnect" || action.do === "forget"));
}

test("where there is no path both go through the gateway, in the same call", () => {
  const { call, messages, about, join } = scene();
  join("anna");
  about("offer", { sdp: "o" });
  const lost = about("lost", { problem: "iceFailed" });
  assert.deepEqual(messages(lost), [{ id: "mode", mode: "group", reason: "iceFailed" }]);
  isThrough(lost);
  assert.equal(call.phase, "joined");
});

test("who has no UDP of their own keeps nobody waiting", () => {
  const candidate = (transport) => ({ candidate: { candidate: `candidate:1 1 ${transport} 2113937151 192.0.2.1 9 typ host`, sdpMid: "0" } });
  const { call, about, join, messages } = scene();
  join("anna");
  about("offer", { sdp: "o" });
  about("ourCandidate", candidate("tcp"));
  assert.deepEqual(messages(about("gathered"))[0], { id: "mode", mode: "group", reason: "unable" });
  assert.equal(call.streams.isJoined, true);
  const other = scene();
  other.join("anna");
  other.about("ourCandidate", candidate("UDP"));
  assert.deepEqual(other.about("gathered"), [], "with UDP it is tried");
});

test("the other or the node says so", () => {
  const { hear, messages, did, about, join } = scene();
  join("anna");
  about("offer", { sdp: "o" });
  const said = hear({ id: "mode", mode: "group", reason: "enforced" });
  assert.deepEqual(messages(said), []);
  isThrough(said);
  assert.equal(did(hear({ id: "mode", mode: "p2p" }), "open"), undefined, "and it stays so");
});

test("who is silent, doesn't connect or shares a screen needs the gateway", () => {
  const silent = scene();
  silent.join();
  silent.hear({ id: "newParticipantArrived", name: "anna" });
  assert.equal(silent.messages(silent.take("timer", { name: "p2p" }))[0].reason, "unable");
  const unconnected = scene();
  unconnected.join("anna");
  unconnected.about("offer", { sdp: "o" });
  unconnected.hear({ id: "signal", from: "anna", description: { type: "answer", sdp: "a" } });
  assert.equal(unconnected.messages(unconnected.take("timer", { name: "p2p" }))[0].reason, "iceFailed");
  const sharing = scene();
  sharing.join("anna");
  const shared = sharing.take("publish", { source: "screen", isWanted: true });
  assert.equal(sharing.messages(shared)[0].reason, "screen");
  const opened = shared.filter((action) => action.do === "open").map(({ stream }) => stream);
  assert.deepEqual(opened, ["me", "me/screen", "anna"]);
});

/** Media flows over the direct connection to anna. */
function connected() {
  const all = scene();
  all.join("anna");
  all.about("offer", { sdp: "o" });
  all.hear({ id: "signal", from: "anna", description: { type: "answer", sdp: "a" } });
  all.about("connected");
  all.about("media");
  return all;
}

test("a connection that works outlives the gateway's socket, on either side", () => {
  const { call, take, hear, did } = connected();
  const rejoin = (...names) => {
    take("closed", { code: 1006 });
    assert.equal(call.p2p.link.phase, "live");
    take("timer", { name: "retry" });
    take("allocated", { gateway: allocation });
    take("opened");
    hear({ id: "existingParticipants", data: names });
    return hear({ id: "mode", mode: "p2p" });
  };
  assert.equal(did(rejoin("anna"), "open"), undefined, "only we had lost it");
  assert.equal(did(rejoin(), "open"), undefined, "both had");
  assert.equal(did(hear({ id: "newParticipantArrived", name: "anna" }), "close"), undefined);
  assert.equal(did(hear({ id: "participantLeft", name: "anna" }), "close"), undefined, "only she has");
  assert.equal(did(hear({ id: "newParticipantArrived", name: "anna" }), "close"), undefined);
  // She has reloaded her page, and so has no connection any more.
  hear({ id: "participantLeft", name: "anna" });
  hear({ id: "newParticipantArrived", name: "anna" });
  assert.ok(did(hear({ id: "signal", from: "anna", description: { type: "offer", sdp: "new" } }), "respond"));
});

test("one who stays away, or is lost meanwhile, is not waited for", () => {
  const gone = connected();
  gone.hear({ id: "participantLeft", name: "anna" });
  assert.ok(gone.did(gone.take("timer", { name: "p2p" }), "close"));
  assert.equal(gone.call.p2p.link, null);
  const lost = connected();
  lost.take("closed", { code: 1006 });
  const actions = lost.about("lost", { problem: "iceFailed" });
  assert.ok(lost.did(actions, "close") && !lost.did(actions, "send") && !lost.did(actions, "open"));
  const alone = connected();
  alone.hear({ id: "participantLeft", name: "anna" });
  assert.deepEqual(alone.messages(alone.about("lost", { problem: "iceFailed" })), []);
});

test("a node that says nothing of it is an ordinary one", () => {
  const { call, take, hear, did } = scene();
  take("start");
  take("allocated", { gateway: allocation });
  take("opened");
  assert.equal(did(hear({ id: "existingParticipants", data: ["anna"] }), "open"), undefined);
  assert.equal(did(take("timer", { name: "mode" }), "open").stream, "anna");
  assert.equal(call.streams.isJoined, true);
});

test("the other's coming back is a new connection; what the former says is stale", () => {
  const { call, hear, did, about, take, join } = scene();
  join("anna");
  about("offer", { sdp: "o" });
  assert.ok(did(hear({ id: "participantLeft", name: "anna" }), "close"));
  assert.equal(call.p2p.link, null);
  assert.deepEqual(take("connected", { stream: P2P_STREAM, generation: 1 }), []);
  hear({ id: "newParticipantArrived", name: "anna" });
  assert.ok(did(hear({ id: "signal", from: "anna", description: { type: "offer", sdp: "o2" } }), "respond"));
});

test("a lost socket begins anew; a gateway that may not pass anything on is an ordinary one", () => {
  const { call, take, hear, did, join } = scene();
  join("anna");
  assert.ok(did(take("closed", { code: 1006 }), "close"));
  take("timer", { name: "retry" });
  take("allocated", { gateway: { ...allocation, mode: "group" } });
  take("opened");
  assert.ok(did(hear({ id: "existingParticipants", data: ["anna"] }), "open"));
  assert.equal(call.p2p.isOn, false);
});

test("only what is asked for one's address is left of the servers", () => {
  assert.deepEqual(stunOnly([]), []);
  assert.deepEqual(stunOnly([{ urls: "turns:t" }]), []);
  assert.deepEqual(stunOnly([{ urls: ["stun:s", "turn:s"] }]), [{ urls: ["stun:s"] }]);
});
