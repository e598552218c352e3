import { constants } from "node:fs";
import { lstat, open, readdir, realpath } from "node:fs/promises";
import { join } from "node:path";
import type { Files } from "./bundle.js";
import { IntegrityError, reason } from "./errors.js";
import { MANIFEST_NAME, MAX_FILES } from "./manifest.js";

const MAX_DEPTH = 8;
const NOT_OURS = "remove it, or get the bundle again";

/**
 * A bundle in a folder, for Node. No link is followed inside it, and only regular files and folders may be there.
 *
 * @throws IntegrityError There is no such folder, or it holds no `edgekit.json`.
 */
export async function folder(path: string): Promise<Files> {
  let root: string;
  try {
    root = await realpath(path);
    await lstat(join(root, MANIFEST_NAME));
  } catch (error) {
    throw new IntegrityError(`${path}: does not exist or has no ${MANIFEST_NAME}`, "a bundle is a folder with it", {
      cause: error,
    });
  }
  return {
    name: path,
    async read(file, limit) {
      try {
        return await readFile(root, file, limit);
      } catch (error) {
        throw error instanceof IntegrityError ? error : broken(file, error);
      }
    },
    async list() {
      const files = new Map<string, number>();
      await listInto(files, root, "", 1);
      return files;
    },
  };
}

async function readFile(root: string, file: string, limit: number): Promise<Uint8Array> {
  let place = root;
  for (const part of file.split("/")) {
    place = join(place, part);
    if ((await lstat(place)).isSymbolicLink()) throw new IntegrityError(`${file}: is or lies behind a link`, NOT_OURS);
  }
  // O_NONBLOCK: a pipe put in a file's place must not block the open. Windows has neither flag.
  const handle = await open(place, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0));
  try {
    const status = await handle.stat();
    if (!status.isFile()) throw new IntegrityError(`${file}: is not a regular file`, NOT_OURS);
    const data = new Uint8Array(Math.min(limit, status.size + 1));
    let filled = 0;
    while (filled < data.length) {
      const { bytesRead } = await handle.read(data, filled, data.length - filled);
      if (!bytesRead) break;
      filled += bytesRead;
    }
    return data.subarray(0, filled);
  } finally {
    await handle.close();
  }
}

async function listInto(files: Map<string, number>, at: string, prefix: string, depth: number): Promise<void> {
  const entries = await readdir(at, { withFileTypes: true }).catch((error: unknown) => {
    throw broken(prefix || at, error);
  });
  if (!entries.length) throw new IntegrityError(`'${prefix || at}': is an empty folder`, NOT_OURS);
  for (const entry of entries) {
    const path = prefix + entry.name;
    if (entry.isDirectory()) {
      if (depth === MAX_DEPTH)
        throw new IntegrityError(`'${path}': is a folder deeper than ${MAX_DEPTH} parts`, NOT_OURS);
      await listInto(files, join(at, entry.name), `${path}/`, depth + 1);
    } else if (entry.isFile()) {
      files.set(path, (await lstat(join(at, entry.name))).size);
      if (files.size > MAX_FILES + 1) throw new IntegrityError(`'${path}': one file more than ${MAX_FILES}`, NOT_OURS);
    } else {
      throw new IntegrityError(
        `'${path}': is ${entry.isSymbolicLink() ? "a link" : "neither file nor folder"}`,
        NOT_OURS,
      );
    }
  }
}

function broken(file: string, error: unknown): IntegrityError {
  const code = (error as NodeJS.ErrnoException).code;
  const what = code === "ENOENT" ? "is missing" : code === "ELOOP" ? "is a link" : `cannot be read: ${reason(error)}`;
  return new IntegrityError(`${file}: ${what}`, "the bundle is damaged; get it again", { cause: error });
}
