import assert from "node:assert/strict";
import test from "node:test";
import { Choice, joinScreenChoice, keepJoinScreenChoice } from "../choice.js";

/** A browser's storage. */
class Store {
  items = new Map();
  getItem = (key) => this.items.get(key) ?? null;
  setItem = (key, text) => void this.items.set(key, text);
  removeItem = (key) => void this.items.delete(key);
}
const shut = {
  getItem() {
    throw new Error("shut off");
  },
};
const seen = ({ audio, video, hand, seat }) => ({ audio, video, hand, seat });
const NOTHING = { audio: false, video: false, hand: false, seat: null };

test("nothing is open in a conference that one has chosen nothing for", () => {
  const choice = new Choice("c1", "me", [new Store()]);
  choice.recall();
  assert.deepEqual(seen(choice), NOTHING);
});

test("a choice is the person's own, in that conference, until they leave it", () => {
  const [device, tab] = [new Store(), new Store()];
  const made = new Choice("c1", "me", [device, tab]);
  made.begin({ audio: true, video: false });
  made.change({ hand: true, seat: 7 });
  const recalled = (confId, userId) => {
    const choice = new Choice(confId, userId, [device, tab]);
    choice.recall();
    return seen(choice);
  };
  assert.deepEqual(recalled("c1", "me"), { audio: true, video: false, hand: true, seat: 7 });
  assert.deepEqual(recalled("c1", "another"), NOTHING);
  assert.deepEqual(recalled("c2", "me"), NOTHING);
  made.forget();
  assert.deepEqual(recalled("c1", "me"), NOTHING);
});

test("another tab's last choice in the same conference wins; one in another conference doesn't", () => {
  const device = new Store();
  const [here, there, elsewhere] = [new Store(), new Store(), new Store()];
  const first = new Choice("c1", "me", [device, here]);
  first.begin({ audio: true, video: true });
  const second = new Choice("c1", "me", [device, there]);
  second.recall();
  second.change({ audio: false });
  first.recall();
  assert.equal(first.audio, false);
  new Choice("c2", "me", [device, elsewhere]).begin({ audio: true, video: false });
  first.recall();
  assert.deepEqual([first.audio, first.video], [true, true], "this tab's own");
});

test("what is stored is taken as far as it makes sense, and a browser that stores nothing has no choice", () => {
  for (const text of ["{", "null", "7", '{"confId":"c1","userId":"me","audio":"yes","seat":"x"}']) {
    const store = new Store();
    store.setItem("confgate.choice", text);
    const choice = new Choice("c1", "me", [store]);
    choice.recall();
    assert.deepEqual(seen(choice), NOTHING, text);
  }
  const choice = new Choice("c1", "me", [shut]);
  choice.begin({ audio: true, video: false });
  choice.recall();
  assert.equal(choice.audio, true, "as long as the page");
  choice.forget();
  keepJoinScreenChoice({ audio: true, video: true }, [shut]);
  assert.deepEqual(joinScreenChoice([shut]), { audio: false, video: false });
});

test("the door is as it was left on this device, off at first", () => {
  const store = new Store();
  assert.deepEqual(joinScreenChoice([store]), { audio: false, video: false });
  keepJoinScreenChoice({ audio: true, video: false }, [store]);
  assert.deepEqual(joinScreenChoice([store]), { audio: true, video: false });
});
