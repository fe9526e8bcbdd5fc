// The modules of the page that need no page: node --test
import assert from "node:assert/strict";
import test from "node:test";

import { Answers } from "../../gmask_pl/drawing/script/answers.mjs";
import { ORDERS, csvOf, listed } from "../../gmask_pl/drawing/script/listing.mjs";
import { KEEP, REMOVE, START, changed, keptOf, linkOf, linked, toggled, undone } from "../../gmask_pl/drawing/script/state.mjs";

const base64 = (array) => Buffer.from(new Uint8Array(array.buffer)).toString("base64");

test("answers are found by the words that are kept, and by nothing else", () => {
  // Ten words: masks {}, {0}, {9}, all.
  const masks = new Uint8Array([0, 0, 128, 0, 0, 64, 255, 192]);
  const shares = new Uint16Array([0, 65535, 65535, 0, 13107, 52428, 32768, 32767]);
  const same = new Uint8Array([0b00010000]);
  const told = { words: 10, read: [...Array(10).keys()], labels: ["no", "yes"], aim: 1, masks: base64(masks), p: base64(shares), same: base64(same) };
  const answers = new Answers(told);
  assert.deepEqual(answers.at(new Set()).probabilities, [0, 1]);
  assert.deepEqual(answers.at(new Set([0])), { probabilities: [1, 0], value: 0, same: false });
  assert.ok(Math.abs(answers.at(new Set([9])).value - 0.8) < 1e-5);
  assert.equal(answers.at(new Set([1])), null);
  assert.equal(answers.at(new Set([0, 9])), null);
  assert.equal(answers.whole.same, true);
  const score = new Answers({ ...told, labels: [], aim: undefined, p: "", v: base64(new Float32Array([1.5, -2, 0.25, 1e6])) });
  assert.deepEqual(score.at(new Set([0])), { probabilities: [], value: -2, same: false });
});

test("words are chosen, taken back, undone and reset", () => {
  const one = toggled(START, [3]);
  const group = toggled(one, [1, 3]);
  assert.deepEqual(group.chosen, [1, 3]);
  assert.deepEqual(toggled(group, [1, 3]).chosen, []);
  assert.deepEqual(undone(group), one);
  assert.equal(undone(undone(undone(group))), START);
  assert.deepEqual([...keptOf(group, [0, 1, 2, 3])], [0, 2]);
  const kept = changed(group, KEEP, group.chosen);
  assert.deepEqual([...keptOf(kept, [0, 1, 2, 3])], [1, 3]);
  assert.equal(undone(kept), group);
  assert.deepEqual(START.chosen, []);
});

test("a link leads back to its state, and other fragments to none", () => {
  for (const state of [START, changed(START, KEEP, []), changed(START, REMOVE, [4, 0, 12])]) {
    const { card, mode, chosen } = linked(`#${linkOf("card-7", state)}`);
    assert.deepEqual([card, mode, chosen], ["card-7", state.mode, state.chosen]);
  }
  for (const other of ["", "#card-1", "#card-1/drop/1", "#card-x/keep/1", "#card-1/keep/1,", "#card-1/keep/-1", "#card-1/keep/<b>"]) {
    assert.equal(linked(other), null);
  }
});

const entry = (place, more) => ({ place, label: "0", wrong: false, warned: false, sure: 0.95, enough: 1, text: "a dog", ...more });
const every = { label: "", sureness: "", wrong: false, warned: false, text: "", order: "file" };
const cards = [entry(0, {}), entry(1, { label: "1", sure: 0.6, text: "a cat" }), entry(2, { wrong: true, sure: null, enough: null, text: "the cat" }), entry(3, { warned: true, enough: 0 })];
const places = (wanted) => listed([...cards], { ...every, ...wanted }).map(({ place }) => place);

test("cards are filtered by all that is wanted", () => {
  assert.deepEqual(places({}), [0, 1, 2, 3]);
  assert.deepEqual(places({ label: "1" }), [1]);
  assert.deepEqual(places({ wrong: true }), [2]);
  assert.deepEqual(places({ warned: true }), [3]);
  assert.deepEqual(places({ sureness: "sure" }), [0, 3]);
  assert.deepEqual(places({ sureness: "unsure" }), [1]);
  assert.deepEqual(places({ text: " CAT  the" }), [2]);
  assert.deepEqual(places({ text: "cat", label: "1" }), [1]);
});

test("cards are sorted, those without a number last, equal ones as in the file", () => {
  assert.deepEqual(places({ order: "unsure" }), [1, 0, 3, 2]);
  assert.deepEqual(places({ order: "sure" }), [0, 3, 1, 2]);
  assert.deepEqual(places({ order: "fewest" }), [3, 0, 1, 2]);
  assert.deepEqual(places({ order: "most" }), [0, 1, 3, 2]);
  assert.deepEqual(Object.keys(ORDERS), ["file", "unsure", "sure", "fewest", "most"]);
});

test("a table is quoted, and no cell is a formula", () => {
  const table = csvOf([["a", 'say "no"', "x,y"], ["=1+1", -2, "two\nlines"]]);
  assert.equal(table, 'a,"say ""no""","x,y"\r\n\'=1+1,-2,"two\nlines"\r\n');
});
