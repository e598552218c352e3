import assert from "node:assert/strict";
import test from "node:test";
import { agreement, sigmoid, softmax } from "../dist/answers.js";
import { bestLabels } from "../dist/classification.js";
import { cutText, windowSpans } from "../dist/encoder.js";
import { continuesWord, findEntities } from "../dist/entities.js";
import { readGolden } from "../dist/golden.js";
import { normalize, pool } from "../dist/pooling.js";
import { bestSpans, findAnswers } from "../dist/spans.js";

const floats = (data, shape = [data.length]) => ({ data: Float32Array.from(data), shape });
const close = (found, expected) => {
  assert.equal(found.length, expected.length);
  expected.forEach((value, place) => assert.ok(Math.abs(found[place] - value) < 1e-6, `${found} is not ${expected}`));
};

test("every pooling gives the vector that its name says", () => {
  const states = floats([1, -2, 3, 4, 5, -6], [3, 2]);
  close(pool(states, "mean"), [3, -4 / 3]);
  close(pool(states, "cls"), [1, -2]);
  close(pool(states, "max"), [5, 4]);
  close(pool(states, "lasttoken"), [5, -6]);
  close(pool(states, "mean_sqrt_len_tokens"), [9 / Math.sqrt(3), -4 / Math.sqrt(3)]);
});

test("a vector is scaled to length 1, and zeros stay zeros", () => {
  close(normalize(Float32Array.of(3, 4)), [0.6, 0.8]);
  close(normalize(Float32Array.of(0, 0)), [0, 0]);
});

test("probabilities do not overflow", () => {
  close(softmax([1000, 1000]), [0.5, 0.5]);
  close(sigmoid([-1000, 0, 1000]), [0, 0.5, 1]);
});

test("agreement is counted by the array's kind", () => {
  assert.equal(agreement({ embedding: floats([1, 0]) }, { embedding: floats([2, 0]) }), 1);
  assert.equal(agreement({ embedding: floats([1, 0]) }, { embedding: floats([0, 1]) }), 0);
  const rows = agreement({ logits: floats([0, 0, 9, -9], [2, 2]) }, { logits: floats([0, 0, -9, 9], [2, 2]) });
  assert.ok(rows < 1e-6, "the worst row counts");
  close([agreement({ flags: floats([0, 0]) }, { flags: floats([0, 100]) })], [0.5]);
  close([agreement({ value: floats([10]) }, { value: floats([9]) })], [0.9]);
});

test("what is missing, of another shape or not finite does not agree", () => {
  assert.equal(agreement({ logits: floats([1, 2]) }, { flags: floats([1, 2]) }), -1);
  assert.equal(agreement({ logits: floats([1, 2]) }, { logits: floats([1, 2], [2, 1]) }), -1);
  assert.equal(agreement({ value: floats([1]) }, { value: floats([NaN]) }), -1);
});

test("labels come best first, ties in their order", () => {
  const found = bestLabels(Float64Array.of(0.2, 0.4, 0.4), ["a", "b", "c"], 2);
  assert.deepEqual(found, [
    { label: "b", score: 0.4 },
    { label: "c", score: 0.4 },
  ]);
});

// Labels O, B-PER, I-PER, B-LOC; a row is what the token's best label is, with its score.
const LABELS = ["O", "B-PER", "I-PER", "B-LOC"];
const token = (index, word, start, end, best, score, continues = false) => {
  const scores = new Float64Array(4).fill((1 - score) / 3);
  scores[best] = score;
  return { index, word, start, end, continues, scores };
};
const TOKENS = [
  token(1, "Ma", 0, 2, 1, 0.9),
  token(2, "##ria", 2, 5, 3, 0.97, true),
  token(3, "Lopez", 6, 11, 2, 0.8),
  token(4, "left", 12, 16, 0, 0.9),
  token(5, "Rio", 17, 20, 3, 0.7),
];
const join = (words) =>
  words.map((word, place) => (place && !word.startsWith("##") ? ` ${word}` : word.replace("##", ""))).join("");
const entities = (strategy, windows = [TOKENS]) =>
  findEntities(windows, LABELS, strategy, ["O"], join).map(
    ({ label, word, start, end }) => `${label} ${word} ${start}-${end}`,
  );

test("without aggregation every token but the ignored ones is an entity", () => {
  assert.deepEqual(entities("none"), ["B-PER Ma 0-2", "B-LOC ##ria 2-5", "I-PER Lopez 6-11", "B-LOC Rio 17-20"]);
});

test("simple aggregation groups neighbours of one kind", () => {
  assert.deepEqual(entities("simple"), ["PER Ma 0-2", "LOC ria 2-5", "PER Lopez 6-11", "LOC Rio 17-20"]);
});

test("first decides by a word's first token, max by its surest one", () => {
  assert.deepEqual(entities("first"), ["PER Maria Lopez 0-11", "LOC Rio 17-20"]);
  assert.deepEqual(entities("max"), ["LOC Maria 0-5", "PER Lopez 6-11", "LOC Rio 17-20"]);
});

test("average decides by the mean of a word's tokens", () => {
  const found = findEntities([TOKENS], LABELS, "average", ["O"], join)[0];
  assert.equal(found.label, "LOC");
  close([found.score], [(0.1 / 3 + 0.97) / 2]);
});

test("where windows overlap the longer entity stays", () => {
  const longer = [token(1, "Maria", 0, 5, 1, 0.6), token(2, "Lopez", 6, 11, 2, 0.6)];
  assert.deepEqual(entities("simple", [TOKENS, longer]), ["PER Maria Lopez 0-11", "LOC Rio 17-20"]);
});

test("a token continues a word by its mark, or where no space precedes it", () => {
  const text = [..."a cat"];
  assert.ok(continuesWord(text, "##at", 3, 5, true));
  assert.ok(!continuesWord(text, "cat", 2, 5, true));
  assert.ok(!continuesWord(text, "cat", 2, 5, false));
  assert.ok(continuesWord(text, "at", 3, 5, false));
});

test("spans are the best products of start and end, no longer than asked", () => {
  const found = bestSpans([0.1, 0.6, 0.3], [0.1, 0.2, 0.7], [true, true, true], 2, 2);
  assert.deepEqual(
    found.map(({ first, last }) => [first, last]),
    [
      [1, 2],
      [2, 2],
    ],
  );
  const inside = bestSpans([0, 1, 0], [0, 0, 1], [true, true, false], 9, 3);
  assert.ok(inside.length === 3 && inside.every(({ last }) => last < 2), "none ends outside the context");
});

const context = [..."the old cat"];
const window = (start, end) => ({
  start, end,
  context: [false, true, true, true, true],
  noAnswer: [true, false, false, false, false],
  starts: [0, 0, 4, 6, 8], ends: [0, 3, 6, 7, 11], words: [-1, 0, 1, 1, 2],
}); // prettier-ignore
const search = (change) => ({
  topK: 1,
  maxAnswerLen: 15,
  handleImpossibleAnswer: false,
  alignToWords: true,
  ...change,
});

test("an answer grows to whole words unless it shall not", () => {
  const windows = [window([-9, -9, 9, -9, -9], [-9, -9, 9, -9, -9])];
  assert.equal(findAnswers(windows, context, search())[0].answer, "old");
  assert.equal(findAnswers(windows, context, search({ alignToWords: false }))[0].answer, "ol");
});

test("equal answers of two windows are added up, and no answer is the least one of any", () => {
  const sure = window([-9, -9, -9, -9, 9], [-9, -9, -9, -9, 9]);
  const [found] = findAnswers([sure, sure], context, search());
  assert.ok(found.score > 1.9 && found.answer === "cat" && found.start === 8);
  const none = window([9, -9, -9, -9, -9], [9, -9, -9, -9, -9]);
  const asked = search({ handleImpossibleAnswer: true });
  assert.equal(findAnswers([none], context, asked)[0].answer, "");
  assert.equal(findAnswers([none, sure], context, asked)[0].answer, "cat");
});

test("windows overlap by the stride and end with the text", () => {
  assert.deepEqual(windowSpans(10, 4, 2), [
    [0, 4],
    [2, 6],
    [4, 8],
    [6, 10],
  ]);
  assert.deepEqual(windowSpans(0, 4, 2), [[0, 0]]);
});

test("a long text is cut behind its last white space", () => {
  assert.equal(cutText("one two three", 9), "one two");
  assert.equal(cutText("one two three", 7), "one two");
  assert.equal(cutText("\u{1f642}\u{1f642}\u{1f642}", 2), "\u{1f642}\u{1f642}");
});

const cases = (expected, input = { text: "a" }) =>
  Buffer.from(JSON.stringify({ schema_version: "2.0", task: "t", cases: [{ input, expected }] }));
const array = (values) => ({
  dtype: "float32",
  shape: [values.length],
  base64: Buffer.from(Float32Array.from(values).buffer).toString("base64"),
});

test("golden cases are read, and what breaks their format is refused", () => {
  assert.deepEqual([...readGolden(cases({ logits: array([1, 2]) }))[0].expected.logits.data], [1, 2]);
  for (const expected of [
    {},
    { scores: array([1]) },
    { logits: array([NaN]) },
    { logits: { ...array([1]), shape: [2] } },
    { logits: { ...array([1]), base64: "!!!!" } },
  ]) {
    assert.throws(() => readGolden(cases(expected)), { kind: "integrity" });
  }
});
