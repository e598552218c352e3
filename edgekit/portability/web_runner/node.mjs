// node node.mjs RUNTIME JOB: runs a job with the onnxruntime-web of the folder RUNTIME; answers go beside JOB.
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { runGraphs, words } from "./graphs.mjs";

const [runtime, jobFile] = process.argv.slice(2);
const folder = path.dirname(jobFile);
const job = JSON.parse(fs.readFileSync(jobFile, "utf8"));
const events = path.join(folder, "events.jsonl");
const io = {
  read: async (name) => new Uint8Array(fs.readFileSync(job.files[name] ?? path.join(folder, name))),
  write: async (name, bytes) => fs.writeFileSync(path.join(folder, name), bytes),
  tell: async (event) => fs.appendFileSync(events, JSON.stringify(event) + "\n"),
};

try {
  await io.tell({ event: "libraries", node: process.versions.node, v8: process.versions.v8 });
  const ort = await import(pathToFileURL(path.join(runtime, "ort.wasm.min.mjs")).href);
  ort.env.wasm.wasmPaths = pathToFileURL(runtime + path.sep).href;
  await runGraphs(ort, job, io);
} catch (error) {
  await io.tell({ event: "error", message: words(error) });
}
