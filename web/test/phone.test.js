import assert from "node:assert/strict";
import test from "node:test";
import { pendingCallees, mergeCallees, calleesAfter } from "../callee-status.js";
import { SingleTabLock } from "../single-tab-lock.js";
import { Phone } from "../phone.js";
import { RpcError } from "../rpc.js";

const person = { userId: "ben", name: "Ben" };

/** A phone whose server is this test: `answers` by method, each a value, or a function of the params. */
async function scene(answers = {}) {
  const calls = [];
  const rpc = {
    session: { userId: "anna" },
    socket: null,
    async call(method, params) {
      calls.push([method, params]);
      const answer = answers[method];
      if (answer instanceof Error) throw answer;
      return typeof answer === "function" ? answer(params) : (answer ?? {});
    },
  };
  let owner = null;
  const socket = { isOpen: false, open: () => (socket.isOpen = true), close: () => (socket.isOpen = false) };
  const phone = new Phone(rpc, (given) => ((owner = given), socket));
  const events = [];
  for (const name of ["enter", "missed", "trouble", "absent"]) phone.addEventListener(name, ({ detail }) => events.push([name, detail]));
  phone.start();
  await settled();
  const handleNotice = async (news, params) => {
    owner.onNotice(`call.${news}`, { callId: "c1", confId: "k1", from: "ben", mode: "p2p", ...params });
    await settled();
  };
  return { phone, rpc, socket, owner, calls, events, handleNotice };
}

const settled = () => new Promise((resolve) => setTimeout(resolve, 5));

test("somebody is called, and answers", async () => {
  const { phone, socket, calls, events, handleNotice } = await scene({ "call.start": { callId: "c1", confId: "k1", mode: "p2p" } });
  assert.equal(socket.isOpen, true, "it rings here from the start");
  await phone.call({ people: [person] }, true);
  assert.deepEqual(calls.at(-1), ["call.start", { to: ["ben"] }]);
  assert.equal(phone.dialled.outcome, null);
  await handleNotice("answered", { userId: "ben" });
  const [[name, call]] = events;
  assert.deepEqual([name, call.confId, call.person, call.withVideo, call.isGroup], ["enter", "k1", person, true, false]);
  assert.equal(phone.dialled, null);
});

test("what becomes of a call is told, even if it comes before the call's number", async () => {
  for (const [news, params, outcome] of [
    ["declined", { reason: "busy" }, "busy"],
    ["declined", { reason: "later" }, "declined"],
    ["missed", {}, "missed"],
    ["ended", { reason: "kicked" }, "failed"],
  ]) {
    const { phone, handleNotice } = await scene({ "call.start": { callId: "c1", confId: "k1" } });
    await phone.call({ people: [person] }, false);
    await handleNotice(news, params);
    assert.equal(phone.dialled.outcome, outcome, news);
  }
  let hearEarly = null;
  const early = await scene({ "call.start": async () => (await hearEarly("declined", { reason: "busy" }), { callId: "c1", confId: "k1" }) });
  hearEarly = early.handleNotice;
  await early.phone.call({ people: [person] }, false);
  assert.equal(early.phone.dialled.outcome, "busy");
});

test("a call that is given up before it has a number is cancelled when it has", async () => {
  let answer = null;
  const { phone, calls } = await scene({ "call.start": () => new Promise((resolve) => (answer = resolve)) });
  const calling = phone.call({ people: [person] }, false);
  await phone.cancel();
  assert.equal(phone.dialled, null);
  answer({ callId: "c9", confId: "k9" });
  await calling;
  assert.deepEqual(calls.at(-1), ["call.cancel", { callId: "c9" }]);
});

test("whoever answers a call has given up the one that they were making", async () => {
  const { phone, calls, events, handleNotice } = await scene({ "call.start": { callId: "c1", confId: "k1" }, "call.accept": { confId: "k2", mode: "p2p" } });
  await phone.call({ people: [person] }, false);
  await handleNotice("incoming", { callId: "c2", confId: "k2", from: "cat" });
  await phone.accept(phone.incoming[0], false);
  assert.deepEqual(calls.slice(-2), [["call.cancel", { callId: "c1" }], ["call.accept", { callId: "c2" }]]);
  assert.deepEqual([phone.dialled, events.at(-1)[1].confId], [null, "k2"]);
});

test("a refused call leaves nothing behind", async () => {
  const refusal = new RpcError(-32029, "too many", { key: "call.tooMany" });
  const { phone, events } = await scene({ "call.start": refusal });
  await phone.call({ people: [person] }, false);
  assert.equal(phone.dialled, null);
  assert.deepEqual(events, [["trouble", refusal]]);
});

test("somebody calls: by name, once, until it is answered, declined or over", async () => {
  const answers = { "org.contacts.search": { users: [{ userId: "ben2", name: "No" }, person] }, "call.accept": { confId: "k1", mode: "p2p" } };
  const { phone, calls, events, handleNotice } = await scene(answers);
  await handleNotice("incoming");
  await handleNotice("incoming");
  assert.deepEqual(phone.incoming.map((call) => call.person.name), ["Ben"]);
  await phone.accept(phone.incoming[0], true);
  assert.equal(events[0][1].confId, "k1");
  assert.equal(phone.incoming.length, 0);
  await handleNotice("incoming", { callId: "c2" });
  await phone.decline(phone.incoming[0]);
  assert.deepEqual(calls.at(-1), ["call.decline", { callId: "c2" }]);
  await handleNotice("incoming", { callId: "c3" });
  await handleNotice("cancelled", { callId: "c3" });
  assert.deepEqual(events.at(-1), ["missed", person]);
  await handleNotice("incoming", { callId: "c4" });
  await handleNotice("answered", { callId: "c4", userId: "anna" });
  assert.equal(phone.incoming.length, 0, "answered at another of one's sockets");
  assert.equal(events.length, 2);
});

const cat = { userId: "cat", name: "Cat" };
const group = { callId: "c1", confId: "k1", mode: "group" };
const states = ({ called }) => called.map(({ userId, state }) => `${userId}:${state}`).join(" ");

test("several are called: who declines doesn't end it, the first who answers begins it, and late ones are followed", async () => {
  const dan = { userId: "dan", name: "Dan" };
  const { phone, calls, events, handleNotice } = await scene({ "call.start": group });
  await phone.call({ people: [person, cat, dan] }, true);
  assert.deepEqual(calls.at(-1), ["call.start", { to: ["ben", "cat", "dan"] }]);
  await handleNotice("declined", { mode: "group", from: "anna", userId: "ben", reason: "later" });
  assert.equal(phone.dialled.outcome, null, "it rings on");
  assert.equal(states(phone.dialled.call), "ben:declined cat:ringing dan:ringing");
  await handleNotice("answered", { mode: "group", from: "anna", userId: "cat" });
  const [[name, call]] = events;
  assert.deepEqual([name, call.confId, call.isGroup], ["enter", "k1", true]);
  phone.rest();
  await handleNotice("missed", { mode: "group", from: "anna", userId: "dan" });
  assert.deepEqual(events.at(-1), ["absent", { ...dan, state: "missed", reason: "" }]);
  assert.equal(states(call), "ben:declined cat:in dan:missed");
  await handleNotice("answered", { mode: "group", from: "anna", userId: "ben" });
  assert.equal(states(call), "ben:in cat:in dan:missed");
});

test("a department is called by its name, and its people are found out", async () => {
  const department = { departmentId: "sales", name: "Sales" };
  let find = null;
  const answers = { "call.start": group, "org.contacts.users": () => new Promise((resolve) => (find = resolve)) };
  const { phone, calls, handleNotice } = await scene(answers);
  await phone.call({ people: [], department }, false);
  assert.ok(calls.some(([method, { departmentId, name }]) => method === "call.start" && departmentId === "sales" && name === "Sales"));
  await handleNotice("declined", { mode: "group", from: "anna", userId: "cat", reason: "busy" });
  find({ users: [person, { userId: "anna", name: "Anna" }, cat] });
  await settled();
  assert.equal(states(phone.dialled.call), "ben:ringing cat:busy", "news came before the names");
  await handleNotice("ended", { mode: "group", from: "anna", reason: "unanswered" });
  assert.equal(phone.dialled.outcome, "unanswered");
});

test("a group call that was declined, missed or left may be come into until it is over", async () => {
  const { phone, events, handleNotice } = await scene({ "call.accept": { confId: "k1", mode: "group" } });
  const rings = (callId) => handleNotice("incoming", { callId, mode: "group", to: ["anna", "cat"] });
  const ongoing = () => phone.ongoing.map(({ callId }) => callId).join(" ");
  await rings("c1");
  assert.deepEqual(phone.incoming[0].others, [{ userId: "cat", name: "cat" }]);
  await phone.decline(phone.incoming[0]);
  await handleNotice("declined", { callId: "c1", mode: "group", userId: "anna" });
  await rings("c2");
  await handleNotice("missed", { callId: "c2", mode: "group", userId: "anna" });
  await rings("c3");
  await phone.accept(phone.incoming[0], false);
  phone.left(events.at(-1)[1], 2);
  assert.equal(ongoing(), "c1 c2 c3");
  await phone.accept(phone.ongoing[2], true);
  assert.equal(events.at(-1)[1].withVideo, true);
  phone.left(events.at(-1)[1], 1);
  await handleNotice("ended", { callId: "c1", mode: "group" });
  await handleNotice("answered", { callId: "c2", mode: "group", userId: "anna" });
  assert.equal(ongoing(), "", "over, answered at another of one's devices, and over with our going");
  await handleNotice("incoming", { callId: "c4" });
  await phone.decline(phone.incoming[0]);
  assert.equal(ongoing(), "", "of two it is over");
});

test("a group call that can no longer be declined or come into is forgotten", async () => {
  const refusal = new RpcError(-32004, "no such call", { key: "call.notFound" });
  const { phone, events, handleNotice } = await scene({ "call.decline": refusal, "call.accept": refusal });
  await handleNotice("incoming", { mode: "group" });
  await phone.decline(phone.incoming[0]);
  assert.deepEqual([phone.incoming, phone.ongoing], [[], []]);
  await handleNotice("incoming", { mode: "group" });
  await handleNotice("missed", { mode: "group", userId: "anna" });
  await phone.accept(phone.ongoing[0], false);
  assert.deepEqual(phone.ongoing, []);
  assert.deepEqual(events.at(-1), ["trouble", refusal]);
});

test("who is awaited: of those called, whoever neither came nor went again", () => {
  const called = calleesAfter(mergeCallees([], [person, cat]), "answered", { userId: "ben", from: "anna" });
  assert.deepEqual(pendingCallees(called, []).map(({ userId }) => userId), ["cat"], "Ben has gone again");
  assert.deepEqual(pendingCallees(called, [cat]), [], "Cat's coming is seen before it is told");
  const own = calleesAfter(called, "answered", { userId: "anna", from: "anna" });
  assert.equal(own, called, "the caller is not one of them");
});

test("in a conference its socket listens, and afterwards the phone's own again", async () => {
  const { phone, rpc, socket, owner } = await scene();
  phone.rest();
  rpc.socket = "the conference's";
  socket.isOpen = false;
  owner.onEnd(4009);
  assert.equal(phone.isElsewhere, false);
  assert.equal(rpc.socket, "the conference's");
  phone.start();
  assert.equal(socket.isOpen, true);
  owner.onEnd(4009);
  assert.equal(phone.isElsewhere, true, "another device has the line, and is not disturbed");
  phone.takeBack();
  assert.equal(phone.isElsewhere, false);
  phone.stop();
  assert.deepEqual([socket.isOpen, rpc.socket], [false, null]);
});

/** Locks as browsers have them: one holder, a queue, and stealing. */
class Locks {
  holder = null;
  queue = [];

  request(name, { steal }, held) {
    return new Promise((resolve, reject) => {
      const request = { held, resolve, reject };
      if (steal) {
        this.holder?.reject(new DOMException("stolen", "AbortError"));
        this.#grant(request);
      } else {
        this.queue.push(request);
        this.#next();
      }
    });
  }

  #next() {
    if (!this.holder && this.queue.length) this.#grant(this.queue.shift());
  }

  #grant(request) {
    this.holder = request;
    request.held().then(() => {
      if (this.holder === request) this.holder = null;
      request.resolve();
      this.#next();
    });
  }
}

test("one page of a browser has the line, and who enters a conference takes it", async () => {
  const locks = new Locks();
  const log = [];
  const line = (page) => new SingleTabLock("anna", { onHeld: () => log.push(`${page} has it`), onLost: () => log.push(`${page} lost it`) }, locks);
  const [one, two] = [line("one"), line("two")];
  one.wait();
  two.wait();
  two.take();
  await settled();
  assert.deepEqual(log, ["one has it", "two has it", "one lost it"]);
  two.release();
  await settled();
  assert.equal(log.at(-1), "one has it");
  assert.deepEqual([one.isHeld, two.isHeld], [true, false]);
});
