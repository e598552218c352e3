import type { InferenceSession, Tensor as OrtTensor } from "onnxruntime-web";
import type { FloatArray } from "./answers.js";
import type { Bundle } from "./bundle.js";
import { HostError, IntegrityError, UsageError, reason } from "./errors.js";
import { graphPath, type Component, type Tensor, type Variant } from "./manifest.js";
import { versionInRange, type Provider } from "./selection.js";

type Ort = typeof import("onnxruntime-web");

// What a bundle may set; other entries name files or are the host's to decide. As in edgekit/runtime/session.py.
const SESSION_OPTIONS = new Set([
  "mlas.disable_kleidiai",
  "mlas.qnbit.force_fp32",
  "mlas.use_lut_gemm",
  "optimization.disable_specified_optimizers",
  "optimization.enable_cast_chain_elimination",
  "optimization.enable_gelu_approximation",
  "session.disable_aot_function_inlining",
  "session.disable_double_qdq_remover",
  "session.disable_prepacking",
  "session.disable_qdq_constant_folding",
  "session.disable_quant_qdq",
  "session.dynamic_block_base",
  "session.enable_dq_matmulnbits_fusion",
  "session.enable_quant_qdq_cleanup",
  "session.graph_optimizations_loop_level",
  "session.intra_op.allow_spinning",
  "session.qdq_matmulnbits_accuracy_level",
  "session.qdq_matmulnbits_block_size",
  "session.qdqisint8allowed",
  "session.set_denormal_as_zero",
  "session.use_deterministic_compute",
  "session.x64quantprecision",
]);

/** Integers for a graph's input. */
export interface Feed {
  readonly data: readonly number[];
  readonly shape: readonly number[];
}

/** The one border to onnxruntime-web: an open graph. */
export class Session {
  private session: InferenceSession | undefined;
  private last: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly ort: Ort,
    session: InferenceSession,
    readonly path: string,
    readonly inputs: readonly Tensor[],
  ) {
    this.session = session;
  }

  /**
   * The outputs for one batch. Calls wait for each other: onnxruntime-web runs one at a time.
   *
   * @throws HostError onnxruntime failed.
   * @throws UsageError The session is closed.
   */
  run(feeds: Readonly<Record<string, Feed>>, outputs: readonly string[]): Promise<Record<string, FloatArray>> {
    const mine = this.last.then(() => this.runNow(feeds, outputs));
    this.last = mine.catch(() => {});
    return mine;
  }

  /** Give the memory back. */
  async close(): Promise<void> {
    await this.last;
    const session = this.session;
    this.session = undefined;
    await session?.release();
  }

  private async runNow(
    feeds: Readonly<Record<string, Feed>>,
    outputs: readonly string[],
  ): Promise<Record<string, FloatArray>> {
    if (!this.session) throw new UsageError("this model is closed", "load the bundle again");
    const given: Record<string, OrtTensor> = {};
    for (const { name, dtype } of this.inputs) {
      const feed = feeds[name];
      if (!feed) throw new HostError(`edgekit.json: inputs: ${name} is none that this edgekit makes from text`);
      given[name] =
        dtype === "int32"
          ? new this.ort.Tensor("int32", Int32Array.from(feed.data), feed.shape)
          : new this.ort.Tensor("int64", BigInt64Array.from(feed.data, BigInt), feed.shape);
    }
    try {
      const found = await this.session.run(given, [...outputs]);
      return Object.fromEntries(outputs.map((name) => [name, this.floats(name, found[name])]));
    } catch (error) {
      if (error instanceof IntegrityError) throw error;
      throw new HostError(
        `onnxruntime-web failed while running: ${reason(error)}`,
        "smaller batches need less memory",
        {
          cause: error,
        },
      );
    }
  }

  private floats(name: string, tensor: OrtTensor | undefined): FloatArray {
    if (!(tensor?.data instanceof Float32Array)) throw new IntegrityError(`${this.path}: ${name} is not float32`);
    // A copy: what onnxruntime-web hands out may be its own memory.
    const answer = { data: tensor.data.slice(), shape: tensor.dims };
    tensor.dispose();
    return answer;
  }
}

/**
 * Open a bundle's one graph from verified memory.
 *
 * @throws IntegrityError A file is not what the manifest lists, or the graph is not what the manifest describes.
 * @throws HostError onnxruntime-web cannot run it.
 */
export async function openSession(
  bundle: Bundle,
  variant: Variant,
  provider: Provider,
  threads: number,
): Promise<Session> {
  const { manifest } = bundle;
  const component = manifest.components.get("model");
  if (!component)
    throw new IntegrityError(`edgekit.json: components: has no 'model', which task ${manifest.task} needs`);
  checkInputs(component);
  const ort = await loadRuntime(provider);
  const version = ort.env.versions.web ?? ort.env.versions.common;
  if (!versionInRange(version, manifest.onnxruntime)) {
    throw new HostError(
      `the bundle needs onnxruntime ${manifest.onnxruntime}, onnxruntime-web is ${version}`,
      `npm install 'onnxruntime-web@${manifest.onnxruntime.replaceAll(",", " ")}'`,
    );
  }
  const path = graphPath(variant, "model");
  const options = optionsOf(variant, provider);
  const graph = await bundle.read(path);
  const externalData = await readWeights(bundle, variant);
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  let session: InferenceSession;
  try {
    session = await ort.InferenceSession.create(graph, { ...options, externalData });
  } catch (error) {
    throw new HostError(
      `${path}: onnxruntime-web ${version} cannot open it here: ${reason(error)}`,
      "try another variant, or the onnxruntime that the bundle was judged with",
      { cause: error },
    );
  }
  checkGraph("inputs", component.inputs, session.inputMetadata, path);
  checkGraph("outputs", component.outputs, session.outputMetadata, path);
  return new Session(ort, session, path, component.inputs);
}

async function loadRuntime(provider: Provider): Promise<Ort> {
  try {
    return provider === "webgpu" ? await import("onnxruntime-web/webgpu") : await import("onnxruntime-web/wasm");
  } catch (error) {
    throw new HostError(`onnxruntime-web cannot be loaded: ${reason(error)}`, "npm install onnxruntime-web", {
      cause: error,
    });
  }
}

/**
 * What lies beside the graphs is their weights: a graph that names anything else finds nothing there, as
 * onnxruntime-web opens no files of its own.
 */
async function readWeights(bundle: Bundle, variant: Variant): Promise<{ path: string; data: Uint8Array }[]> {
  const graphs = new Set(variant.graphs.values());
  const weights = [];
  for (const { path } of bundle.manifest.files) {
    const name = path.slice(variant.folder.length + 1);
    if (path !== `${variant.folder}/${name}` || name.includes("/") || graphs.has(name)) continue;
    weights.push({ path: name, data: await bundle.read(path) });
  }
  return weights;
}

function optionsOf(variant: Variant, provider: Provider): InferenceSession.SessionOptions {
  const extra: Record<string, Record<string, string>> = { session: { load_model_format: "ONNX" } };
  for (const [key, value] of variant.sessionOptions) {
    if (!SESSION_OPTIONS.has(key)) {
      throw new HostError(
        `variant '${variant.name}': session option '${key}' is not one this edgekit lets a bundle set`,
        "a newer edgekit may know it",
      );
    }
    const dot = key.indexOf(".");
    (extra[key.slice(0, dot)] ??= {})[key.slice(dot + 1)] = value;
  }
  return { executionProviders: [provider], graphOptimizationLevel: "all", logSeverityLevel: 3, extra };
}

function checkInputs(component: Component): void {
  for (const { name, dtype } of component.inputs) {
    const known = ["input_ids", "attention_mask", "token_type_ids", "position_ids"].includes(name);
    if (!known || !["int64", "int32"].includes(dtype)) {
      throw new HostError(`edgekit.json: inputs: ${name} (${dtype}) is none that this edgekit makes from text`);
    }
  }
}

function checkGraph(
  what: string,
  expected: readonly Tensor[],
  found: readonly InferenceSession.ValueMetadata[],
  path: string,
): void {
  const named = found.map((node) => `${node.name} (${node.isTensor ? node.type : "no tensor"})`).sort();
  const listed = expected.map(({ name, dtype }) => `${name} (${dtype})`).sort();
  if (named.join() !== listed.join()) {
    throw new IntegrityError(
      `${path}: its ${what} are ${named.join(", ")}, edgekit.json lists ${listed.join(", ")}`,
      "the graph and the manifest are not of one bundle; get it again",
    );
  }
}

/** Refuse a number of threads that makes no sense. */
export function checkThreads(threads: number): void {
  if (!Number.isInteger(threads) || threads < 1 || threads > 64)
    throw new UsageError(`threads ${threads}: expected 1 to 64`);
}
