import { sha256 } from "./digest.js";
import { HostError, IntegrityError } from "./errors.js";
import { MANIFEST_NAME, MAX_MANIFEST_BYTES, readManifest, type FileEntry, type Manifest } from "./manifest.js";
import { checkPaths } from "./paths.js";

const DAMAGED = "the bundle is damaged or was changed; get it again";

/** Where a bundle's files come from. */
export interface Files {
  /** What to call it in errors. */
  readonly name: string;
  /**
   * A file's bytes, at most `limit` of them: what is larger is cut there.
   *
   * @throws IntegrityError It is missing or cannot be read.
   */
  read(path: string, limit: number): Promise<Uint8Array>;
  /** Path and size in bytes of every file, where the place can tell. */
  list?(): Promise<Map<string, number>>;
}

/** Bytes received and bytes in all, over the files that a bundle has been asked for. */
export type Progress = (path: string, size: number) => void;

/** An opened bundle; nothing is handed out that was not hashed first, in memory that nobody else can change. */
export class Bundle {
  private readonly entries: Map<string, FileEntry>;

  private constructor(
    private readonly files: Files,
    readonly manifest: Manifest,
    /** Digest of `edgekit.json`; it names the bundle's whole content. */
    readonly manifestSha256: string,
    private readonly onVerified: Progress,
  ) {
    this.entries = new Map(manifest.files.map((entry) => [entry.path, entry]));
  }

  /**
   * Read `edgekit.json`, and compare the names and sizes of all files with it where the place lists them: a folder
   * does, a web server does not. Contents are hashed by `read`.
   *
   * @param expected SHA-256 that `edgekit.json` must have, from a place you trust.
   * @throws IntegrityError It is no bundle, or not the one that its manifest lists.
   */
  static async open(files: Files, expected?: string, onVerified: Progress = () => {}): Promise<Bundle> {
    const data = await files.read(MANIFEST_NAME, MAX_MANIFEST_BYTES + 1);
    if (data.length > MAX_MANIFEST_BYTES) {
      throw new IntegrityError(`${MANIFEST_NAME}: is over the limit of ${MAX_MANIFEST_BYTES} bytes`, DAMAGED);
    }
    const found = await sha256(data);
    if (expected !== undefined && found !== expected) {
      throw new IntegrityError(`${MANIFEST_NAME}: sha256 is ${found}, expected ${expected}`, DAMAGED);
    }
    const manifest = await readManifest(data);
    checkPaths([MANIFEST_NAME, ...manifest.files.map((entry) => entry.path)]);
    const bundle = new Bundle(files, manifest, found, onVerified);
    await bundle.checkListing();
    onVerified(MANIFEST_NAME, data.length);
    return bundle;
  }

  /**
   * The verified bytes of a listed file.
   *
   * @throws IntegrityError It is not listed, missing, or not what is listed.
   */
  async read(path: string): Promise<Uint8Array> {
    const entry = this.entries.get(path);
    if (!entry) throw new IntegrityError(`${path}: is not listed in ${MANIFEST_NAME}`, DAMAGED);
    const data = await this.files.read(path, entry.size + 1);
    if (data.length !== entry.size) throw sizeError(entry, data.length);
    const found = await sha256(data);
    if (found !== entry.sha256) {
      throw new IntegrityError(`${path}: sha256 is ${found}, listed is ${entry.sha256}`, DAMAGED);
    }
    this.onVerified(path, data.length);
    return data;
  }

  private async checkListing(): Promise<void> {
    if (!this.files.list) return;
    const present = await this.files.list();
    present.delete(MANIFEST_NAME);
    for (const [path, size] of present) {
      const entry = this.entries.get(path);
      if (!entry) throw new IntegrityError(`'${path}': is not listed in ${MANIFEST_NAME}`, DAMAGED);
      if (size !== entry.size) throw sizeError(entry, size);
    }
    for (const path of this.entries.keys()) {
      if (!present.has(path)) throw new IntegrityError(`${path}: is listed in ${MANIFEST_NAME} but missing`, DAMAGED);
    }
  }
}

/**
 * A bundle behind a URL. A folder's name in it ends with a slash or gets one.
 *
 * @throws HostError There is no such URL.
 */
export function served(base: string | URL): Files {
  const root = absolute(base);
  return {
    name: root.href,
    async read(path, limit) {
      const url = new URL(path.split("/").map(encodeURIComponent).join("/"), root);
      let response: Response;
      try {
        response = await fetch(url);
      } catch (error) {
        throw new IntegrityError(`${path}: cannot be fetched from ${url.href}`, "check the address and the network", {
          cause: error,
        });
      }
      if (!response.ok) {
        const what = response.status === 404 ? "is missing" : `the server answers ${response.status}`;
        throw new IntegrityError(`${path}: ${what} at ${url.href}`, "a bundle is a folder with edgekit.json");
      }
      return collected(response, path, limit);
    },
  };
}

async function collected(response: Response, path: string, limit: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  const reader = response.body?.getReader();
  try {
    for (let step = await reader?.read(); step && !step.done; step = await reader?.read()) {
      parts.push(step.value.subarray(0, limit - size));
      size += parts[parts.length - 1]?.length ?? 0;
      if (size >= limit) {
        await reader?.cancel();
        break;
      }
    }
    const whole = new Uint8Array(size);
    let place = 0;
    for (const part of parts) {
      whole.set(part, place);
      place += part.length;
    }
    return whole;
  } catch (error) {
    if (error instanceof RangeError) throw new HostError(`${path}: no memory for its ${size} bytes`);
    throw new IntegrityError(`${path}: the transfer broke off after ${size} bytes`, "try again", { cause: error });
  }
}

function absolute(base: string | URL): URL {
  const here = typeof location === "undefined" ? undefined : location.href;
  let url: URL;
  try {
    url = new URL(base, here);
  } catch (error) {
    throw new HostError(`'${String(base)}' is no URL`, "give the address of the bundle's folder", { cause: error });
  }
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return url;
}

function sizeError(entry: FileEntry, found: number): IntegrityError {
  const size = found > entry.size ? `at least ${found}` : `${found}`;
  return new IntegrityError(`${entry.path}: has ${size} bytes, listed are ${entry.size}`, DAMAGED);
}
