import { Bundle, type Files, type Progress } from "./bundle.js";
import { TextClassifier } from "./classification.js";
import { Embedder } from "./embedding.js";
import { HostError, UsageError } from "./errors.js";
import { openVariant, type Model } from "./model.js";
import { QuestionAnswerer } from "./question-answering.js";
import { chooseVariant, providerOf, type Provider } from "./selection.js";
import { checkThreads } from "./session.js";
import { TokenClassifier } from "./token-classification.js";

/** What answers for which task. */
export interface Tasks {
  "feature-extraction": Embedder;
  "question-answering": QuestionAnswerer;
  "text-classification": TextClassifier;
  "token-classification": TokenClassifier;
  "sentence-similarity": Embedder;
  "sentiment-analysis": TextClassifier;
  ner: TokenClassifier;
}

export interface LoadOptions {
  /** The variant's name; left out, the one made for WebAssembly, or else one that is right on every CPU. */
  variant?: string;
  /** What to run on; left out, WebAssembly, or what the named variant was made for. */
  provider?: Provider;
  /**
   * Threads within one operator, 1 where left out; what the first bundle is opened with holds for all. In a browser more
   * than one takes a cross-origin isolated page.
   */
  threads?: number;
  /** SHA-256 that `edgekit.json` must have, from a place you trust: it stands for the bundle's whole content. */
  sha256?: string;
  /** Called with each file that was verified and its size in bytes. */
  onVerified?: Progress;
}

const CLASSES = {
  "feature-extraction": Embedder,
  "question-answering": QuestionAnswerer,
  "text-classification": TextClassifier,
  "token-classification": TokenClassifier,
} as const;

const SYNONYMS: Readonly<Record<string, string>> = {
  ner: "token-classification",
  "sentence-similarity": "feature-extraction",
  "sentiment-analysis": "text-classification",
};

/** Open a bundle: verify what is used, choose a variant, open its session. */
export async function openBundle(files: Files, options: LoadOptions): Promise<Model> {
  const { threads = 1, sha256, onVerified } = options;
  checkThreads(threads);
  const bundle = await Bundle.open(files, sha256, onVerified);
  const { manifest } = bundle;
  const Class = Object.hasOwn(CLASSES, manifest.task) ? CLASSES[manifest.task as keyof typeof CLASSES] : undefined;
  if (!Class) {
    throw new HostError(
      `the bundle's task '${manifest.task}' is not answered in JavaScript, only ${Object.keys(CLASSES).join(", ")}`,
      "use the bundle in Python",
    );
  }
  const variant = chooseVariant(manifest, options.provider ?? "wasm", options.variant);
  const provider = options.provider ?? providerOf(manifest, variant);
  return new Class(await openVariant(bundle, variant, provider, threads));
}

/**
 * The model, if it is one for that task.
 *
 * @throws UsageError It is for another one.
 */
export async function forTask<Task extends keyof Tasks>(task: Task, model: Model): Promise<Tasks[Task]> {
  const wanted = SYNONYMS[task] ?? task;
  if (model.manifest.task === wanted) return model as Tasks[Task];
  await model.close();
  throw new UsageError(`the bundle is one for ${model.manifest.task}, and cannot be used for ${task}`);
}
