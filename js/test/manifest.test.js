import assert from "node:assert/strict";
import test from "node:test";
import { readManifest } from "../dist/manifest.js";
import { checkPaths } from "../dist/paths.js";
import { chooseVariant, providerOf, versionInRange } from "../dist/selection.js";
import { RELEASED, released, sealed } from "./bundles.js";
import { readFileSync } from "node:fs";

const refused = (bytes, message) =>
  assert.rejects(readManifest(bytes), (error) => {
    assert.equal(error.kind, "integrity");
    assert.equal(error.exitCode, 7);
    assert.match(error.message, message);
    return true;
  });

const after = (change) => {
  const document = released();
  change(document);
  return sealed(document);
};

test("a released manifest is read", async () => {
  const manifest = await readManifest(readFileSync(`${RELEASED}/edgekit.json`));
  assert.equal(manifest.task, "feature-extraction");
  assert.equal(manifest.settings.embedding.pooling, "mean");
  assert.equal(manifest.variants[0].graphs.get("model"), "model.onnx");
});

test("any flipped bit of a manifest is refused", async () => {
  const bytes = readFileSync(`${RELEASED}/edgekit.json`);
  for (let place = 0; place < bytes.length; place += 37) {
    const flipped = Uint8Array.from(bytes);
    flipped[place] ^= 1;
    await refused(flipped, /./);
  }
});

test("an edit without a new checksum is refused", () => {
  const bytes = readFileSync(`${RELEASED}/edgekit.json`, "utf8").replace('"release": 1', '"release": 2');
  return refused(Buffer.from(bytes), /checksum: the file is not as it was written/);
});

for (const [name, change, message] of [
  ["a missing key", (one) => delete one.task, /edgekit.json: missing key 'task'/],
  ["an unknown key", (one) => (one.tsk = "x"), /edgekit.json: unknown key 'tsk'/],
  ["a wrong type", (one) => (one.release = "1"), /edgekit.json: release: expected an integer, found a string/],
  ["a value out of bounds", (one) => (one.settings.text.max_length = 0), /settings: text: max_length: 0 is outside/],
  ["an unknown pooling", (one) => (one.settings.embedding.pooling = "sum"), /pooling: 'sum' is not one of mean/],
  ["an unknown section", (one) => (one.settings.txt = {}), /settings: unknown key 'txt'/],
  ["a graph that is not listed", (one) => (one.variants[0].folder = "elsewhere"), /names 'elsewhere\/model.onnx'/],
  ["an unlisted tokenizer", (one) => (one.settings.text.tokenizer = "../t.json"), /settings: names '..\/t.json'/],
  ["a target that is not there", (one) => one.variants[0].targets.push("moon"), /serves 'moon'/],
  ["an output that no graph has", (one) => (one.settings.embedding.output = "y"), /output 'y' is not in any/],
  ["another major version", (one) => (one.schema_version = "3.0"), /the bundle is 3.0/],
]) {
  test(`${name} is refused`, () => refused(after(change), message));
}

test("unknown keys of a newer minor version are skipped", async () => {
  const manifest = await readManifest(after((one) => Object.assign(one, { schema_version: "2.1", news: { a: 1 } })));
  assert.equal(manifest.name, released().name);
});

for (const [name, text, message] of [
  ["a key that appears twice", '{"a": 1, "a": 2}', /key 'a' appears twice/],
  ["a byte-order mark", "\ufeff{}", /byte-order mark/],
  ["NaN", '{"a": NaN}', /not JSON/],
  ["a number that fits no double", '{"a": 1e999}', /does not fit a double/],
  ["a lone surrogate", '{"a": "\\ud800"}', /lone surrogate/],
  ["something behind the object", "{} {}", /something follows/],
  ["a list", "[]", /expected an object, found a list/],
  ["deep nesting", `${'{"a":'.repeat(40)}1${"}".repeat(40)}`, /nested deeper than 32/],
]) {
  test(`${name} is refused`, () => refused(Buffer.from(text), message));
}

test("a float where an integer is expected is refused", () => {
  const text = JSON.stringify(released()).replace('"release":1', '"release":1.0');
  assert.ok(text.includes("1.0"));
  return refused(Buffer.from(text), /release: expected an integer/);
});

for (const path of ["../up", "/root", "a//b", "a/./b", "a\\b", "nul.txt", "a.", "C:x", "a\u202eb", "e\u0301"]) {
  test(`the path ${JSON.stringify(path)} is refused`, () => {
    assert.throws(() => checkPaths([path]), { kind: "integrity" });
  });
}

test("paths that meet on another system are refused", () => {
  assert.throws(() => checkPaths(["a/B", "a/b"]), /differs from 'a\/B' only by case/);
  assert.throws(() => checkPaths(["stra\u00dfe", "strasse"]), /only by case/);
  assert.throws(() => checkPaths(["a", "a/b"]), /also a folder/);
  checkPaths(["edgekit.json", "model/int8/model.onnx", "golden/cases.json"]);
});

const target = (name, architecture, rank, executionProvider = "CPUExecutionProvider") => [
  name,
  {
    name,
    architecture,
    rank,
    executionProvider,
    cpuFeatures: architecture === "wasm32" ? ["simd128"] : [],
    summary: "",
  },
];
const TARGETS = new Map([
  target("x86", "x86_64", 20),
  target("wasm", "wasm32", 10),
  target("gpu", "any", 30, "WebGpuExecutionProvider"),
]);
const bundle = (...variants) => ({ targets: TARGETS, variants });
const variant = (name, targets, runsAnywhere = false) => ({ name, targets, runsAnywhere });

test("the variant for WebAssembly comes before one that runs anywhere", () => {
  const one = bundle(variant("a", ["x86"], true), variant("b", ["wasm"]));
  assert.equal(chooseVariant(one, "wasm").name, "b");
});

test("without one for WebAssembly the first that runs anywhere is taken", () => {
  const one = bundle(variant("a", ["x86"]), variant("b", ["x86"], true), variant("c", ["x86"], true));
  assert.equal(chooseVariant(one, "wasm").name, "b");
});

test("a bundle for other CPUs alone is refused, and a variant can be named all the same", () => {
  const one = bundle(variant("a", ["x86"]));
  assert.throws(() => chooseVariant(one, "wasm"), { kind: "host" });
  assert.equal(chooseVariant(one, "wasm", "a").name, "a");
  assert.throws(() => chooseVariant(one, "wasm", "z"), { kind: "usage" });
});

test("a variant for WebGPU is taken when it is asked for, and runs there", () => {
  const one = bundle(variant("a", ["x86"], true), variant("g", ["gpu"]));
  assert.equal(chooseVariant(one, "webgpu").name, "g");
  assert.equal(chooseVariant(one, "wasm").name, "a");
  assert.equal(providerOf(one, one.variants[1]), "webgpu");
  assert.equal(providerOf(one, one.variants[0]), "wasm");
});

test("version ranges are understood, and malformed ones are refused", () => {
  assert.ok(versionInRange("1.30.0", ">=1.24,<2"));
  assert.ok(versionInRange("1.31.0-dev.2026", ">=1.31"));
  assert.ok(!versionInRange("1.9.0", ">=1.24"));
  assert.throws(() => versionInRange("1.0", "~1"), { kind: "integrity" });
});
