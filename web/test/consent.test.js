import assert from "node:assert/strict";
import test from "node:test";
import { Choice } from "../choice.js";
import { Consent } from "../call/consent.js";

/** Devices that obey, and a server that says yes unless the test has it say otherwise. */
function scene({ audio = false, video = false, policy = "free" } = {}) {
  const devices = { audio: false, video: false };
  const told = [];
  const troubles = [];
  let trouble = null;
  let refusal = null;
  const live = {
    isOnline: true,
    roster: { epoch: "e", seq: 1, conference: { mutePolicy: policy } },
    control: async (action) => {
      told.push(action);
      if (refusal) throw refusal;
      return { seq: live.roster.seq };
    },
  };
  const open = (kind) => async (isOn) => {
    devices[kind] = isOn && !trouble;
    return isOn ? trouble : null;
  };
  const choice = new Choice("c1", "me", []);
  choice.begin({ audio, video });
  const own = { setMicrophone: open("audio"), setCamera: open("video") };
  const consent = new Consent({ live, choice, own, onTrouble: (key) => troubles.push(key), onChange: () => {} });
  const settled = () => new Promise((done) => setImmediate(done));
  return {
    consent, choice, devices, told, troubles, live, settled,
    fails: (key) => (trouble = key),
    refuses: (error) => (refusal = error),
    says: async (audio, video = "off", seq = ++live.roster.seq) => {
      live.roster.seq = seq;
      consent.follow({ audio, video, role: "guest" });
      await settled();
    },
  };
}
const member = (audio, video = "off", role = "guest") => ({ audio, video, role });

test("a new seat is silent until its owner's choice opens something, and the roster is told", async () => {
  const quiet = scene();
  await quiet.consent.enter(member("off"));
  assert.deepEqual([quiet.devices, quiet.told], [{ audio: false, video: false }, []]);
  const eager = scene({ audio: true, video: true });
  await eager.consent.enter(member("off"));
  assert.deepEqual([eager.devices, eager.told.sort()], [{ audio: true, video: true }, ["openCamera", "unmuteSelf"]]);
});

test("no roster opens a device that its owner has off: the roster is corrected", async () => {
  for (const come of [(s) => s.consent.enter(member("on", "on")), (s) => s.says("on", "on")]) {
    const s = scene();
    await come(s);
    assert.deepEqual([s.devices, s.told.sort()], [{ audio: false, video: false }, ["closeCamera", "muteSelf"]]);
  }
});

test("who comes in muted by the conference's rule stays so, whatever they chose; a chair is free", async () => {
  for (const [audio, policy] of [["off", "joinMuted"], ["forcedOff", "free"], ["forcedOff", "locked"]]) {
    const s = scene({ audio: true, policy });
    await s.consent.enter(member(audio));
    assert.deepEqual([s.devices.audio, s.choice.audio, s.told], [false, false, []], `${audio} ${policy}`);
  }
  const chair = scene({ audio: true, policy: "joinMuted" });
  await chair.consent.enter(member("off", "off", "chair"));
  assert.equal(chair.devices.audio, true);
});

test("after a reload the devices are open that were, and off wins where the two differ", async () => {
  const same = scene({ audio: true, video: true });
  await same.says("on", "on");
  assert.deepEqual([same.devices, same.told], [{ audio: true, video: true }, []]);
  const muted = scene({ audio: true, video: true });
  await muted.says("off", "on");
  assert.deepEqual([muted.devices, muted.choice.audio, muted.told], [{ audio: false, video: true }, false, []]);
});

test("a chair's mute closes the microphone, and its lifting opens nothing", async () => {
  const s = scene({ audio: true });
  await s.consent.enter(member("off"));
  await s.says("on");
  await s.says("forcedOff");
  assert.deepEqual([s.devices.audio, s.choice.audio], [false, false]);
  await s.says("off");
  await s.says("on");
  assert.deepEqual([s.devices.audio, s.told.at(-1)], [false, "muteSelf"], "nor does the roster's word");
});

test("an older word of the roster undoes no act of the owner's", async () => {
  const s = scene();
  await s.says("off");
  s.live.control = async () => ({ seq: 5 });
  await s.consent.set("audio", true);
  await s.says("off", "off", 4);
  assert.equal(s.devices.audio, true);
  await s.says("on", "off", 5);
  await s.says("forcedOff", "off", 6);
  assert.equal(s.devices.audio, false);
});

test("a roster that counts anew is followed at once", async () => {
  const s = scene();
  s.live.control = async () => ({ seq: 50 });
  await s.consent.set("audio", true);
  s.live.roster = { epoch: "f", seq: 2, conference: { mutePolicy: "free" } };
  await s.says("forcedOff");
  assert.equal(s.devices.audio, false);
});

test("muting works without a server, which is told when it is back", async () => {
  const s = scene({ audio: true });
  await s.consent.enter(member("off"));
  await s.says("on");
  s.refuses(new Error("the connection is lost"));
  await assert.rejects(s.consent.set("audio", false));
  assert.deepEqual([s.devices.audio, s.choice.audio], [false, false]);
  s.refuses(null);
  const before = s.told.length;
  await s.says("on");
  assert.deepEqual([s.devices.audio, s.told.slice(before)], [false, ["muteSelf"]]);
});

test("what the server refuses to open is closed again, and a device that can't be had is said to be", async () => {
  const refused = scene();
  refused.refuses(new Error("conference.unmuteDenied"));
  await assert.rejects(refused.consent.set("audio", true));
  assert.deepEqual([refused.devices.audio, refused.choice.audio], [false, false]);
  const missing = scene({ audio: true });
  missing.fails("device.microphone.denied");
  await missing.consent.enter(member("off"));
  assert.deepEqual([missing.troubles, missing.choice.audio, missing.told], [["device.microphone.denied"], false, []]);
});
