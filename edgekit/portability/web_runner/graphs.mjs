// Runs graphs in ONNX Runtime's build for the web, on tensors that someone else made. Used in Node and in a page.
//
// `job.graphs` are opened in their order, each for its calls alone, probes first. `io` reads and writes named files and
// tells how far it came: what is known after a crash is what was told before.

const ARRAYS = {
  float32: Float32Array, float64: Float64Array, int8: Int8Array, uint8: Uint8Array, int16: Int16Array,
  uint16: Uint16Array, int32: Int32Array, uint32: Uint32Array, int64: BigInt64Array, uint64: BigUint64Array,
  bool: Uint8Array, float16: typeof Float16Array === "undefined" ? Uint16Array : Float16Array,
};

export async function runGraphs(ort, job, io) {
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = job.provider === "webgpu" ? "verbose" : "error";
  const feeds = await io.read("feeds.bin");
  for (const graph of job.graphs) {
    if (graph.opens) await io.tell({ event: "probed" });
    io.listen?.();
    const session = await open(ort, job, graph, io);
    const left = io.heard ? leftToTheCpu(io.heard()) : [];
    await io.tell({ event: "graph", name: graph.name, left });
    for (const call of graph.calls) {
      const given = Object.fromEntries(call.feeds.map((feed) => [feed.name, tensor(ort, feed, feeds)]));
      const found = await session.run(given);
      const outputs = [];
      const parts = [];
      for (const name of session.outputNames) {
        const data = found[name].data;
        const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        outputs.push({ name, dtype: found[name].type, dims: [...found[name].dims], bytes: bytes.length });
        parts.push(bytes);
      }
      await io.write(`call-${call.number}.bin`, joined(parts));
      await io.tell({ event: "call", number: call.number, outputs });
    }
    await session.release();
  }
  await io.tell({ event: "done" });
}

// What an error says, in the words of ONNX Runtime where it is one of its own.
export function words(error) {
  return String(error?.message ?? error).split("\n")[0].slice(0, 400);
}

async function open(ort, job, graph, io) {
  const model = await io.read(graph.model);
  const externalData = [];
  for (const { path, file } of graph.data) externalData.push({ path, data: await io.read(file) });
  return ort.InferenceSession.create(model, {
    executionProviders: [job.provider],
    externalData,
    extra: graph.options,
    logSeverityLevel: job.provider === "webgpu" ? 0 : 3,
  });
}

function tensor(ort, feed, feeds) {
  const bytes = feeds.slice(feed.offset, feed.offset + feed.bytes); // a copy, so that it starts at its own boundary
  return new ort.Tensor(feed.dtype, new ARRAYS[feed.dtype](bytes.buffer), feed.dims);
}

function joined(parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let place = 0;
  for (const part of parts) {
    all.set(part, place);
    place += part.length;
  }
  return all;
}

// ONNX Runtime names, at its most talkative, every node of the session with the provider it was given to.
function leftToTheCpu(lines) {
  const left = [];
  let provider = "";
  for (const line of lines) {
    const placed = /placed on \[(\w+)\]/.exec(line);
    if (placed) provider = placed[1];
    const node = /VerifyEachNodeIsAssignedToAnEp\]\s+(\w+) \((.*)\)/.exec(line);
    if (node && provider === "CPUExecutionProvider") left.push({ op: node[1], name: node[2] });
  }
  return left;
}
