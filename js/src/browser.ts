import { served } from "./bundle.js";
import { forTask, openBundle, type LoadOptions, type Tasks } from "./loading.js";
import type { Model } from "./model.js";

export * from "./index.js";

/**
 * Open the bundle behind a URL.
 *
 * @param where The address of its folder; a relative one is resolved against the page.
 * @throws IntegrityError It is not, byte for byte, what its manifest lists.
 * @throws HostError This host cannot run it.
 * @throws UsageError There is no such variant.
 */
export function load(where: string | URL, options: LoadOptions = {}): Promise<Model> {
  return openBundle(served(where), options);
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
