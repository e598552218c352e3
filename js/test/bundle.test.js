import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import * as edgekit from "edgekit";
import { changed, copied, flip, RELEASED } from "./bundles.js";

const fails = (where, kind, message, options) =>
  assert.rejects(edgekit.load(where, options), (error) => {
    assert.ok(error instanceof edgekit.EdgekitError, error);
    assert.equal(error.kind, kind);
    assert.match(error.message, message);
    return true;
  });

/** A folder behind http on this machine. */
async function serving(test, folder) {
  const server = createServer((request, response) => {
    readFile(join(folder, decodeURIComponent(request.url))).then(
      (data) => response.end(data),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  test.after(() => server.close());
  return `http://127.0.0.1:${server.address().port}/`;
}

test("a released bundle passes its self-test, of both formats", async () => {
  for (const folder of [RELEASED, RELEASED.replace("2.0", "1.0")]) {
    const model = await edgekit.load(folder);
    const { passed, cases, worst } = await model.selfTest();
    assert.ok(passed && cases === 3 && worst > 0.9999);
    await model.close();
  }
});

test("the same bundle answers the same from a folder, a file: URL and a server", async (t) => {
  const answers = [];
  for (const where of [RELEASED, new URL(`file://${RELEASED}`), await serving(t, RELEASED)]) {
    const model = await edgekit.pipeline("sentence-similarity", where);
    answers.push([...(await model.embed("word1 word2"))]);
    await model.close();
  }
  assert.deepEqual(answers[1], answers[0]);
  assert.deepEqual(answers[2], answers[0]);
});

test("a flipped bit of the graph or the tokenizer is refused before it is parsed", async (t) => {
  for (const file of ["model/plain/model.onnx", "text/tokenizer.json"]) {
    const folder = copied(t);
    flip(join(folder, file), 10);
    await fails(folder, "integrity", new RegExp(`^${file}: sha256 is`));
    await fails(await serving(t, folder), "integrity", new RegExp(`^${file}: sha256 is`));
  }
});

test("flipped golden cases are refused by the self-test", async (t) => {
  const folder = copied(t);
  flip(join(folder, "golden/cases.json"), 100);
  const model = await edgekit.load(folder);
  await assert.rejects(model.selfTest(), { kind: "integrity" });
  await model.close();
});

test("a longer or shorter file is refused, and a server's is not read to its end", async (t) => {
  const folder = copied(t);
  appendFileSync(join(folder, "text/tokenizer.json"), " ".repeat(1 << 20));
  await fails(folder, "integrity", /text\/tokenizer.json: has at least/);
  await fails(await serving(t, folder), "integrity", /text\/tokenizer.json: has at least \d{4} bytes/);
});

test("a missing, an added and an empty place are refused", async (t) => {
  const [missing, added, empty] = [copied(t), copied(t), copied(t)];
  rmSync(join(missing, "golden/cases.json"));
  writeFileSync(join(missing, "golden/other"), "");
  await fails(missing, "integrity", /'golden\/other': is not listed/);
  rmSync(join(missing, "golden"), { recursive: true });
  await fails(missing, "integrity", /golden\/cases.json: is listed in edgekit.json but missing/);
  writeFileSync(join(added, "more"), "");
  await fails(added, "integrity", /'more': is not listed/);
  mkdirSync(join(empty, "none"));
  await fails(empty, "integrity", /empty folder/);
});

test("a file missing on a server is refused by its name", async (t) => {
  const folder = copied(t);
  rmSync(join(folder, "model/plain/model.onnx"));
  await fails(await serving(t, folder), "integrity", /model.onnx: is missing/);
  await fails(join(folder, "nowhere"), "integrity", /does not exist/);
});

test("links are not followed", { skip: process.platform === "win32" }, async (t) => {
  const folder = copied(t);
  renameSync(join(folder, "model"), `${folder}-model`);
  t.after(() => rmSync(`${folder}-model`, { recursive: true }));
  symlinkSync(`${folder}-model`, join(folder, "model"));
  await fails(folder, "integrity", /'model': is a link/);
});

test("a pipe in a file's place is refused at once", { skip: process.platform === "win32" }, async (t) => {
  const folder = copied(t);
  rmSync(join(folder, "golden/cases.json"));
  execFileSync("mkfifo", [join(folder, "golden/cases.json")]);
  await fails(folder, "integrity", /neither file nor folder/);
});

test("a listed path that leaves the folder is refused", async (t) => {
  const folder = copied(t);
  changed(folder, (document) => (document.files[0].path = "../outside"));
  await fails(folder, "integrity", /path|names/);
});

test("a digest from a trusted place is compared", async () => {
  await fails(RELEASED, "integrity", /expected 0{64}/, { sha256: "0".repeat(64) });
});

test("a bundle of another task, onnxruntime, option or thread count is refused for what it is", async (t) => {
  await assert.rejects(edgekit.pipeline("question-answering", RELEASED), { kind: "usage" });
  const [task, version, option] = [copied(t), copied(t), copied(t)];
  changed(task, (document) => (document.task = "fill-mask"));
  await fails(task, "host", /'fill-mask' is not answered in JavaScript/);
  changed(version, (document) => (document.requires.onnxruntime = ">=99"));
  await fails(version, "host", /needs onnxruntime >=99/);
  changed(option, (document) => (document.variants[0].session_options = { "session.profiling": "1" }));
  await fails(option, "host", /'session.profiling' is not one/);
  await fails(RELEASED, "usage", /threads 0/, { threads: 0 });
});

test("a graph that is not the described one is refused", async (t) => {
  const folder = copied(t);
  changed(folder, (document) => (document.components.model.inputs[0].dtype = "int32"));
  await fails(folder, "integrity", /its inputs are/);
});

test("wrong inputs are named, and a closed model says so", async () => {
  const model = await edgekit.load(RELEASED);
  await assert.rejects(model.embed(["word1", 3]), { kind: "input", message: /input 1: text: expected a string/ });
  await assert.rejects(model.embed("\ud800"), { kind: "input", message: /lone surrogate/ });
  await assert.rejects(model.embed("word1", { batchsize: 1 }), { kind: "usage", message: /unknown option/ });
  await model.close();
  await assert.rejects(model.embed("word1"), { kind: "usage", message: /closed/ });
});

test("calls at the same time do not disturb each other", async () => {
  const model = await edgekit.load(RELEASED);
  const texts = ["word1", "word2 word3", "word4 word5 word6"];
  const alone = [];
  for (const text of texts) alone.push(await model.embed(text));
  assert.deepEqual(await Promise.all(texts.map((text) => model.embed(text))), alone);
  await model.close();
});
