import assert from "node:assert/strict";
import test from "node:test";
import { EventSocket } from "../socket.js";
import { RpcError } from "../rpc.js";

const HOUR_MS = 3_600_000;

/** An event socket whose network is this test. */
function scene(t, { refused = "retry" } = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  const made = [];
  class FakeSocket {
    constructor(url, protocols) {
      Object.assign(this, { url, protocols, sent: [] });
      made.push(this);
    }
    send(text) {
      this.sent.push(JSON.parse(text));
    }
    close(code) {
      this.closedWith = code;
    }
    localize(message) {
      this.onmessage({ data: JSON.stringify(message) });
    }
    sendHello() {
      this.localize({ method: "hello", params: { heartbeatMs: 10_000 } });
    }
  }
  const log = [];
  const session = { accessToken: "T1", refreshes: 0, refresh: async () => void ((session.refreshes += 1), (session.accessToken = "T2")) };
  const owner = {
    session,
    positions: () => [{ confId: "c", epoch: "e", seq: 3 }],
    onNotice: (method) => log.push(method),
    onState: (state) => log.push(state),
    onEnd: (code) => log.push(["end", code]),
    onRefused: async () => refused,
  };
  const socket = new EventSocket(owner, FakeSocket);
  return { socket, made, log, session, last: () => made[made.length - 1] };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

test("the token stands in the subprotocol and the position in the address", (t) => {
  const { socket, last } = scene(t);
  socket.open();
  assert.deepEqual(last().protocols, ["confgate", "bearer.T1"]);
  assert.ok(last().url.endsWith("/websck?resume=c%3Ae%3A3"));
  assert.ok(!last().url.includes("T1"));
});

test("calls are carried from hello on", async (t) => {
  const { socket, last } = scene(t);
  socket.open();
  await assert.rejects(socket.call("conference.list", {}), { key: "net.lost" });
  last().sendHello();
  const call = socket.call("conference.list", {});
  last().localize({ id: last().sent[0].id, result: 7 });
  assert.equal(await call, 7);
});

test("a lost connection comes back by itself, soon and then less often", (t) => {
  const { socket, made, last } = scene(t);
  socket.open();
  last().sendHello();
  last().onclose({ code: 1006, reason: "" });
  assert.equal(made.length, 1);
  t.mock.timers.tick(500);
  assert.equal(made.length, 2);
});

test("after kicked, over and taken over nothing comes back by itself", (t) => {
  for (const code of [4003, 4004, 4009]) {
    const { socket, made, log, last } = scene(t);
    socket.open();
    last().sendHello();
    last().onclose({ code, reason: "" });
    t.mock.timers.tick(HOUR_MS);
    assert.equal(made.length, 1);
    assert.deepEqual(log.at(-1), ["end", code]);
    t.mock.timers.reset();
  }
});

test("a token that is no longer valid is renewed before coming back", async (t) => {
  const { socket, session, last } = scene(t);
  socket.open();
  last().sendHello();
  last().onclose({ code: 4001, reason: "" });
  await settled();
  t.mock.timers.tick(0);
  assert.equal(session.refreshes, 1);
  assert.deepEqual(last().protocols, ["confgate", "bearer.T2"]);
});

test("a token that can't be renewed is the end", async (t) => {
  const { socket, session, log, last } = scene(t);
  session.refresh = async () => {
    throw new RpcError(-32001, "", { key: "auth.required" });
  };
  socket.open();
  last().sendHello();
  last().onclose({ code: 4001, reason: "" });
  await settled();
  assert.deepEqual(log.at(-1), ["end", "signedOut"]);
});

test("a token about to expire is renewed on the socket itself", (t) => {
  const { socket, session, last } = scene(t);
  let carrier;
  session.refresh = async (call) => (carrier = call);
  socket.open();
  last().sendHello();
  last().localize({ method: "auth.expiring", params: { deadlineMs: 1 } });
  carrier("auth.http.login", { grantType: "refresh_token" }).catch(() => {});
  assert.equal(last().sent.at(-1).method, "auth.http.login");
});

test("a refused connection is retried only while there is a reason to", async (t) => {
  const { socket, made, last } = scene(t, { refused: "stop" });
  socket.open();
  last().onclose({ code: 1006, reason: "" });
  await settled();
  t.mock.timers.tick(HOUR_MS);
  assert.equal(made.length, 1);
});

test("an idle connection is asked something, and dropped if it stays silent", (t) => {
  const { socket, made, last } = scene(t);
  socket.open();
  last().sendHello();
  const first = last();
  t.mock.timers.tick(12_500);
  assert.deepEqual(first.sent.map(({ method }) => method), ["config.getProperties"]);
  t.mock.timers.tick(12_500);
  assert.equal(first.closedWith, undefined);
  t.mock.timers.tick(2_600);
  assert.equal(first.closedWith, 4900);
  t.mock.timers.tick(500);
  assert.equal(made.length, 2);
});

test("an answered question keeps the connection", (t) => {
  const { socket, made, last } = scene(t);
  socket.open();
  last().sendHello();
  for (let n = 0; n < 20; n += 1) {
    t.mock.timers.tick(5_000);
    const question = last().sent.pop();
    if (question) last().localize({ id: question.id, result: {} });
  }
  assert.equal(made.length, 1);
});

test("a connection that is never greeted is given up", async (t) => {
  const { socket, made, last } = scene(t);
  socket.open();
  t.mock.timers.tick(10_000);
  assert.equal(last().closedWith, 4900);
  await settled();
  t.mock.timers.tick(10_000);
  assert.equal(made.length, 2);
});

test("what was closed by us stays closed", (t) => {
  const { socket, made, last } = scene(t);
  socket.open();
  last().sendHello();
  socket.close();
  t.mock.timers.tick(HOUR_MS);
  assert.deepEqual([made.length, last().closedWith, socket.isOpen], [1, 1000, false]);
});
