import { HostError, IntegrityError, UsageError } from "./errors.js";
import type { Manifest, Target, Variant } from "./manifest.js";

const CPU = "CPUExecutionProvider";
const WEBGPU = "WebGpuExecutionProvider";
const CONDITION = /^(>=|<=|==|!=|>|<)\s*(\d{1,6}(?:\.\d{1,6}){0,3})$/;

/** What onnxruntime-web runs on: WebAssembly on the CPU, or the GPU through WebGPU. */
export type Provider = "wasm" | "webgpu";

/**
 * The variant to load: of those made for this kind of host the one whose target has the highest rank; where none was,
 * for WebAssembly, the first whose answers are right on every CPU.
 *
 * @param name The variant asked for; then the host is not asked whether it is one of its targets.
 * @throws HostError None fits.
 * @throws UsageError There is no variant of that name.
 */
export function chooseVariant(manifest: Manifest, provider: Provider, name?: string): Variant {
  const { variants } = manifest;
  if (name !== undefined) {
    const found = variants.find((variant) => variant.name === name);
    if (found) return found;
    throw new UsageError(`the bundle has no variant '${name}', only ${variants.map((one) => one.name).join(", ")}`);
  }
  let best: [number, Variant] | undefined;
  for (const variant of variants) {
    for (const target of targetsOf(manifest, variant)) {
      if (fits(target, provider) && (!best || target.rank > best[0])) best = [target.rank, variant];
    }
  }
  const anywhere = provider === "wasm" ? variants.find((variant) => variant.runsAnywhere) : undefined;
  const chosen = best?.[1] ?? anywhere;
  if (chosen) return chosen;
  throw new HostError(
    `no variant of the bundle fits ${provider}: its targets are ${[...manifest.targets.keys()].join(", ")}, and none runs anywhere`,
    "name a variant to try it all the same, and see what its self-test says",
  );
}

/** What a variant runs on: WebGPU where all its targets say so. */
export function providerOf(manifest: Manifest, variant: Variant): Provider {
  const targets = targetsOf(manifest, variant);
  return targets.length && targets.every((target) => target.executionProvider === WEBGPU) ? "webgpu" : "wasm";
}

/**
 * Whether a release is in a range such as `>=1.24,<2`; what follows the release number is not looked at.
 *
 * @throws IntegrityError The range is not conditions joined by commas.
 */
export function versionInRange(version: string, range: string): boolean {
  return range.split(",").every((condition) => {
    const match = CONDITION.exec(condition.trim());
    if (!match) {
      throw new IntegrityError(`edgekit.json: requires: onnxruntime: '${range}' is not a range such as '>=1.24,<2'`);
    }
    const order = compare(release(version), release(match[2] ?? ""));
    const holds = {
      ">=": order >= 0,
      "<=": order <= 0,
      "==": order === 0,
      "!=": order !== 0,
      ">": order > 0,
      "<": order < 0,
    };
    return holds[match[1] as keyof typeof holds];
  });
}

function targetsOf(manifest: Manifest, variant: Variant): Target[] {
  return variant.targets.flatMap((name) => manifest.targets.get(name) ?? []);
}

function fits(target: Target, provider: Provider): boolean {
  if (provider === "webgpu") return target.executionProvider === WEBGPU;
  const features = target.cpuFeatures.every((feature) => feature === "simd128");
  return target.executionProvider === CPU && target.architecture === "wasm32" && features;
}

function release(version: string): number[] {
  const match = /^\d{1,6}(\.\d{1,6}){0,3}/.exec(version);
  const numbers = match ? match[0].split(".").map(Number) : [];
  return [0, 1, 2, 3].map((place) => numbers[place] ?? 0);
}

function compare(left: number[], right: number[]): number {
  const place = left.findIndex((number, index) => number !== right[index]);
  return place < 0 ? 0 : (left[place] ?? 0) - (right[place] ?? 0);
}
