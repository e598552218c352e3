import { isSealed } from "./digest.js";
import { IntegrityError, RecordError } from "./errors.js";
import { parseJson } from "./json.js";
import { upgraded } from "./manifest1.js";
import { namedFiles, namedOutputs, readSettings, type Settings } from "./settings.js";
import { Table } from "./table.js";

export const MANIFEST_NAME = "edgekit.json";
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
export const MAX_FILES = 4096;

const MAX_FILE_BYTES = 2 ** 42;
const SCHEMA_MAJOR = 2;
const SCHEMA_MINOR = 0;
const VERDICTS = ["pass", "fail", "unproven"] as const;
const DAMAGED = "the bundle is damaged; get it again";

/** One file: its path with forward slashes, its size in bytes and its SHA-256 in hexadecimal. */
export interface FileEntry {
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
}

/** Where the model came from. */
export interface Source {
  readonly name: string;
  readonly revision: string;
  readonly license: string;
  readonly architecture: string;
  readonly weightsSha256: string;
}

/** An input or output of a graph: numpy's name of its type; names in its shape are free dimensions. */
export interface Tensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly (number | string)[];
}

/** One graph of the model: what it takes and gives, whichever variant it is from. */
export interface Component {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
}

/** A class of devices. */
export interface Target {
  readonly name: string;
  readonly summary: string;
  readonly architecture: string;
  readonly cpuFeatures: readonly string[];
  readonly executionProvider: string;
  readonly rank: number;
}

/** The graphs that one recipe made, one for each component. */
export interface Variant {
  readonly name: string;
  readonly recipe: string;
  readonly precision: string;
  readonly folder: string;
  readonly graphs: ReadonlyMap<string, string>;
  readonly targets: readonly string[];
  readonly runsAnywhere: boolean;
  readonly sessionOptions: ReadonlyMap<string, string>;
  readonly opset: number;
  readonly parity: string;
  readonly selfTestMin: number;
}

/** A parsed `edgekit.json`; `variants` stand in order of preference. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly release: number;
  readonly task: string;
  readonly source: Source;
  readonly generator: ReadonlyMap<string, string>;
  readonly onnxruntime: string;
  readonly components: ReadonlyMap<string, Component>;
  readonly settings: Settings;
  readonly golden: string;
  readonly targets: ReadonlyMap<string, Target>;
  readonly variants: readonly Variant[];
  readonly files: readonly FileEntry[];
}

/**
 * Parse the bytes of `edgekit.json` and compare its checksum.
 *
 * @throws IntegrityError It is no manifest that this version reads, or not as it was written.
 */
export async function readManifest(data: Uint8Array): Promise<Manifest> {
  try {
    const manifest = read(upgraded(new Table(parseJson(data, MANIFEST_NAME, MAX_MANIFEST_BYTES), MANIFEST_NAME)));
    if (!(await isSealed(data, MANIFEST_NAME))) {
      throw new RecordError(`${MANIFEST_NAME}: checksum: the file is not as it was written`);
    }
    return manifest;
  } catch (error) {
    if (!(error instanceof RecordError)) throw error;
    throw new IntegrityError(error.message, error.hint || DAMAGED, { cause: error });
  }
}

/** Path of a component's ONNX file inside the bundle. */
export function graphPath(variant: Variant, component: string): string {
  return `${variant.folder}/${variant.graphs.get(component)}`;
}

/**
 * A section of the settings that the bundle's task needs.
 *
 * @throws IntegrityError The bundle has none.
 */
export function section<Key extends keyof Settings>(manifest: Manifest, key: Key): NonNullable<Settings[Key]> {
  const found = manifest.settings[key];
  if (found === undefined) {
    throw new IntegrityError(`${MANIFEST_NAME}: settings: missing key '${key}', which task ${manifest.task} needs`);
  }
  return found as NonNullable<Settings[Key]>;
}

function read(table: Table): Manifest {
  const strict = isKnownVersion(table);
  const requires = table.table("requires");
  digest(table, "checksum");
  const manifest: Manifest = {
    name: identifier(table, "name"),
    version: identifier(table, "version"),
    release: table.integer("release"),
    task: table.string("task"),
    source: readSource(table.table("source"), strict),
    generator: table.stringMap("generator"),
    onnxruntime: requires.string("onnxruntime"),
    components: new Map(table.namedTables("components").map(([name, item]) => [name, readComponent(item, strict)])),
    settings: readSettings(table.table("settings"), strict),
    golden: table.string("golden"),
    targets: new Map(table.namedTables("targets").map(([name, item]) => [name, readTarget(name, item)])),
    variants: table.tables("variants", 256).map((item) => readVariant(item, strict)),
    files: table.tables("files", MAX_FILES).map((item) => readFile(item, strict)),
  };
  if (strict) {
    table.done();
    requires.done();
  }
  checkReferences(table, manifest);
  return manifest;
}

/** Whether the minor version is known, so that unknown keys are errors; a newer one may add some. */
function isKnownVersion(table: Table): boolean {
  const text = table.string("schema_version");
  const match = /^(\d{1,4})\.(\d{1,4})$/.exec(text);
  if (!match) throw table.error("schema_version", `'${text}' is not MAJOR.MINOR`);
  if (Number(match[1]) !== SCHEMA_MAJOR) {
    throw new RecordError(
      `${table.path}: schema_version: this edgekit reads 1.x and ${SCHEMA_MAJOR}.x, the bundle is ${text}`,
      "a newer edgekit may read it",
    );
  }
  return Number(match[2]) <= SCHEMA_MINOR;
}

function checkReferences(table: Table, manifest: Manifest): void {
  const listed = new Set(manifest.files.map((entry) => entry.path));
  const named: [string, string][] = [["golden", manifest.golden]];
  for (const path of namedFiles(manifest.settings)) named.push(["settings", path]);
  for (const variant of manifest.variants) {
    for (const name of variant.graphs.keys()) named.push(["variants", graphPath(variant, name)]);
  }
  for (const [key, path] of named) {
    if (!listed.has(path)) throw table.error(key, `names '${path}', which is not in files`);
  }
  checkVariants(table, manifest);
  const outputs = new Set(
    [...manifest.components.values()].flatMap((part) => part.outputs.map((tensor) => tensor.name)),
  );
  for (const output of namedOutputs(manifest.settings)) {
    if (!outputs.has(output)) throw table.error("settings", `output '${output}' is not in any component's outputs`);
  }
}

function checkVariants(table: Table, manifest: Manifest): void {
  const { variants, components, targets } = manifest;
  if (!variants.length) throw table.error("variants", "a bundle has at least one");
  if (new Set(variants.map((variant) => variant.name)).size !== variants.length) {
    throw table.error("variants", "two variants have one name");
  }
  for (const { name, graphs, targets: served } of variants) {
    if (graphs.size !== components.size || [...graphs.keys()].some((component) => !components.has(component))) {
      throw table.error("variants", `${name}: graphs: expected one for each component`);
    }
    for (const target of served) {
      if (!targets.has(target)) throw table.error("variants", `${name} serves '${target}', which is not in targets`);
    }
  }
}

function readVariant(table: Table, strict: boolean): Variant {
  return closed(table, strict, {
    name: identifier(table, "name"),
    recipe: table.string("recipe"),
    precision: table.string("precision"),
    folder: table.string("folder"),
    graphs: table.stringMap("graphs"),
    targets: table.strings("targets"),
    runsAnywhere: table.boolean("runs_anywhere"),
    sessionOptions: table.stringMap("session_options"),
    opset: table.integer("opset", { minimum: 1, maximum: 1000 }),
    parity: table.string("parity", { choices: VERDICTS }),
    selfTestMin: table.number("self_test_min", { minimum: -1, maximum: 1 }),
  });
}

function readSource(table: Table, strict: boolean): Source {
  return closed(table, strict, {
    name: table.string("name"),
    revision: table.string("revision"),
    license: table.string("license"),
    architecture: table.string("architecture"),
    weightsSha256: digest(table, "weights_sha256"),
  });
}

/** Other CPUs' features and other providers are no business of a host that runs WebAssembly: names are not judged. */
function readTarget(name: string, table: Table): Target {
  return closed(table, true, {
    name,
    summary: table.string("summary"),
    architecture: table.string("architecture"),
    cpuFeatures: table.strings("cpu_features"),
    executionProvider: table.string("execution_provider"),
    rank: table.integer("rank", { maximum: 1000 }),
  });
}

function readComponent(table: Table, strict: boolean): Component {
  const tensors = (key: string): Tensor[] =>
    table
      .tables(key)
      .map((item) =>
        closed(item, strict, { name: item.string("name"), dtype: item.string("dtype"), shape: item.shape("shape") }),
      );
  return closed(table, strict, { inputs: tensors("inputs"), outputs: tensors("outputs") });
}

function readFile(table: Table, strict: boolean): FileEntry {
  return closed(table, strict, {
    path: table.string("path"),
    size: table.integer("size", { maximum: MAX_FILE_BYTES }),
    sha256: digest(table, "sha256"),
  });
}

function digest(table: Table, key: string): string {
  const value = table.string(key);
  if (!/^[0-9a-f]{64}$/.test(value)) throw table.error(key, "expected 64 lower-case hexadecimal digits");
  return value;
}

function identifier(table: Table, key: string): string {
  const value = table.string(key);
  if (!/^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$/.test(value)) {
    throw table.error(key, `'${value}' is not a name (letters, digits, '.', '_', '+', '-')`);
  }
  return value;
}

function closed<Record>(table: Table, strict: boolean, record: Record): Record {
  if (strict) table.done();
  return record;
}
