import { fileURLToPath } from "node:url";
import { served } from "./bundle.js";
import { folder } from "./folder.js";
import { forTask, openBundle, type LoadOptions, type Tasks } from "./loading.js";
import type { Model } from "./model.js";

export * from "./index.js";

/**
 * Open a bundle in a folder, or behind a URL.
 *
 * @param where The folder's path, a `file:` URL, or the folder's address on a web server.
 * @throws IntegrityError It is not, byte for byte, what its manifest lists.
 * @throws HostError This host cannot run it.
 * @throws UsageError There is no such variant.
 */
export async function load(where: string | URL, options: LoadOptions = {}): Promise<Model> {
  const text = String(where);
  if (/^https?:/i.test(text)) return openBundle(served(where), options);
  return openBundle(await folder(text.startsWith("file:") ? fileURLToPath(text) : text), options);
}

/**
 * Open a bundle for a task, as `transformers.pipeline` opens a checkpoint: `run` gives results of the same shape.
 *
 * @throws UsageError The bundle is one for another task.
 */
export async function pipeline<Task extends keyof Tasks>(
  task: Task,
  where: string | URL,
  options: LoadOptions = {},
): Promise<Tasks[Task]> {
  return forTask(task, await load(where, options));
}
