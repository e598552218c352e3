import { agreement, type Raw } from "./answers.js";
import type { Bundle } from "./bundle.js";
import { PairEncoder } from "./encoder.js";
import { UsageError } from "./errors.js";
import { readGolden, type Golden, type Input } from "./golden.js";
import { TextGraph } from "./graph.js";
import { section, type Manifest, type Variant } from "./manifest.js";
import type { Provider } from "./selection.js";
import { openSession } from "./session.js";

/** What replaying the golden cases gave. */
export interface SelfTest {
  /** How many were replayed. */
  readonly cases: number;
  /** The least agreement between an answer and the expected one, 1 being the very same. */
  readonly worst: number;
  /** The least agreement that the bundle accepts. */
  readonly bound: number;
  readonly passed: boolean;
  readonly seconds: number;
}

/** What a model is made from: an open bundle and one of its variants, with the graph in a session. */
export interface Opened {
  readonly bundle: Bundle;
  readonly variant: Variant;
  readonly provider: Provider;
  readonly graph: TextGraph;
}

/** Read what a variant needs, all of it verified, and open its session. */
export async function openVariant(
  bundle: Bundle,
  variant: Variant,
  provider: Provider,
  threads: number,
): Promise<Opened> {
  const text = section(bundle.manifest, "text");
  const encoder = new PairEncoder(await bundle.read(text.tokenizer), text);
  return {
    bundle,
    variant,
    provider,
    graph: new TextGraph(encoder, await openSession(bundle, variant, provider, threads)),
  };
}

/** An open bundle; a subclass for each family of tasks says how it answers. */
export abstract class Model {
  readonly manifest: Manifest;
  /** Digest of `edgekit.json`; it names the bundle's whole content. */
  readonly manifestSha256: string;
  /** The variant that was loaded. */
  readonly variant: Variant;
  /** What it runs on. */
  readonly provider: Provider;
  protected readonly graph: TextGraph;
  private readonly bundle: Bundle;

  constructor(opened: Opened) {
    this.bundle = opened.bundle;
    this.manifest = opened.bundle.manifest;
    this.manifestSha256 = opened.bundle.manifestSha256;
    this.variant = opened.variant;
    this.provider = opened.provider;
    this.graph = opened.graph;
  }

  /** Answers in the shape that `transformers.pipeline` gives them for the task. */
  abstract run(inputs: unknown, options?: object): Promise<unknown>;

  /** Answers before they are put into words: what the self-test compares. */
  abstract raw(inputs: readonly Input[]): Promise<Raw[]>;

  /**
   * The bundle's golden cases: inputs with the reference's raw answers.
   *
   * @throws IntegrityError They are not what the manifest lists.
   */
  async golden(): Promise<Golden[]> {
    return readGolden(await this.bundle.read(this.manifest.golden));
  }

  /** Replay the bundle's golden cases, one by one. */
  async selfTest(): Promise<SelfTest> {
    const began = performance.now();
    const cases = await this.golden();
    let worst = 1;
    for (const { input, expected } of cases) {
      const [found] = await this.raw([input]);
      worst = Math.min(worst, found ? agreement(expected, found) : -1);
    }
    const bound = this.variant.selfTestMin;
    return { cases: cases.length, worst, bound, passed: worst >= bound, seconds: (performance.now() - began) / 1000 };
  }

  /** Give the model's memory back. Asking it afterwards is a UsageError. */
  async close(): Promise<void> {
    await this.graph.session.close();
  }
}

/** Refuse options that are misspelt: left out silently they would change the answer. */
export function checkOptions(options: object, known: readonly string[]): void {
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw new UsageError(`unknown option '${name}'; expected ${known.join(", ")}`);
  }
}

/** Places in a text by characters (code points), as places in the JavaScript string, which counts UTF-16 units. */
export function unitsOf(chars: readonly string[]): number[] {
  const units = [0];
  for (const char of chars) units.push((units[units.length - 1] ?? 0) + char.length);
  return units;
}
