import assert from "node:assert/strict";
import test from "node:test";
import { PendingCalls, resultOf, Rpc, RpcError } from "../rpc.js";
import { Session } from "../session.js";

class Storage {
  #items = new Map();
  getItem = (key) => this.#items.get(key) ?? null;
  setItem = (key, value) => void this.#items.set(key, value);
  removeItem = (key) => void this.#items.delete(key);
}

/** Gives out numbered tokens, and writes down what was asked. */
function server(answers = {}) {
  const asked = [];
  let issued = 0;
  const send = async (method, params, token) => {
    asked.push([method, params, token]);
    if (answers[method]) return answers[method](params, token);
    issued += 1;
    return { accessToken: `access${issued}`, refreshToken: `refresh${issued}`, userId: "g1", name: "Anna", deadline: 1 };
  };
  return { send, asked };
}

const signedIn = async (parts, storage = new Storage()) => {
  const session = new Session("code", { storage, send: parts.send });
  await session.login({ grantType: "conference_link", link: "code", name: "Anna" });
  return session;
};

test("a login survives a reload, for its own link only", async () => {
  const storage = new Storage();
  await signedIn(server(), storage);
  const reloaded = new Session("code", { storage, send: server().send });
  assert.equal(await reloaded.restore(), true);
  assert.deepEqual([reloaded.userId, reloaded.accessToken], ["g1", "access1"]);
  assert.equal(await new Session("another", { storage }).restore(), false);
});

test("a parked login serves this page and no reload", async () => {
  const storage = new Storage();
  const session = await signedIn(server(), storage);
  session.park();
  assert.equal(session.accessToken, "access1");
  assert.equal(await new Session("code", { storage }).restore(), false);
  session.unpark();
  assert.equal(await new Session("code", { storage }).restore(), true);
});

test("what is no login in the store is ignored", async () => {
  for (const text of ["", "null", "{", "[]", '{"accessToken":1}']) {
    const storage = new Storage();
    storage.setItem("confgate.session:code", text);
    assert.equal(await new Session("code", { storage }).restore(), false);
  }
});

test("refreshes at the same time share one request", async () => {
  const parts = server();
  const session = await signedIn(parts);
  await Promise.all([session.refresh(), session.refresh()]);
  assert.equal(parts.asked.length, 2);
  assert.deepEqual(parts.asked[1][1], { grantType: "refresh_token", refreshToken: "refresh1" });
  assert.equal(session.accessToken, "access2");
});

test("a refused refresh ends the login, an unanswered one does not", async () => {
  const parts = server();
  const session = await signedIn(parts);
  await assert.rejects(session.refresh(() => Promise.reject(new RpcError(0, "", { key: "net.lost" }))));
  assert.equal(session.accessToken, "access1");
  await assert.rejects(session.refresh(() => Promise.reject(new RpcError(-32001, "", { key: "auth.required" }))));
  assert.equal(session.accessToken, null);
});

test("a call takes the socket while it is open", async () => {
  const rpc = new Rpc(await signedIn(server()));
  rpc.socket = { isOpen: true, call: async (method) => `socket ${method}` };
  assert.equal(await rpc.call("conference.list"), "socket conference.list");
});

test("a call with an expired token is repeated once with a new one", async () => {
  const session = await signedIn(server());
  const tokens = [];
  const rpc = new Rpc(session);
  rpc.socket = {
    isOpen: true,
    call: async () => {
      tokens.push(session.accessToken);
      if (tokens.length === 1) throw new RpcError(-32002, "expired", { key: "auth.expired" });
      return "done";
    },
  };
  assert.equal(await rpc.call("conference.list"), "done");
  assert.deepEqual(tokens, ["access1", "access2"]);
});

test("answers on a socket find their calls, in any order, and errors keep their key", async () => {
  const calls = new PendingCalls();
  const sent = [];
  const [one, two] = ["a", "b"].map((method) => calls.call((text) => sent.push(JSON.parse(text)), method, {}));
  calls.answer({ id: sent[1].id, result: 2 });
  calls.answer({ id: sent[0].id, error: { code: -32003, message: "no", data: { key: "conference.chairOnly" } } });
  calls.answer({ id: "unknown", result: 0 });
  assert.equal(await two, 2);
  await assert.rejects(one, { name: "RpcError", code: -32003, key: "conference.chairOnly" });
});

test("a lost socket fails its calls at once", async () => {
  const calls = new PendingCalls();
  const call = calls.call(() => {}, "conference.list", {});
  calls.failAll();
  await assert.rejects(call, { key: "net.lost" });
});

test("what is no reply is no result", () => {
  for (const reply of [null, 1, [], {}, { error: null }]) assert.throws(() => resultOf(reply), { key: "net.badAnswer" });
  assert.equal(resultOf({ result: null }), null);
});
