/**
 * What the Python tests ask of a bundle, in Node and in a page alike.
 *
 * @param edgekit The package.
 * @param where The bundle.
 * @param calls Lists of a method's name and its arguments.
 * @returns `{answers}` in the calls' order, or `{error}` with the kind and the message.
 */
export async function ask(edgekit, where, calls, options = {}) {
  let model;
  try {
    model = await edgekit.load(where, options);
    const answers = [];
    for (const [method, ...given] of calls) answers.push(plain(await model[method](...given)));
    return { answers, variant: model.variant.name, sha256: model.manifestSha256 };
  } catch (error) {
    return { error: { name: error.name, kind: error.kind, exitCode: error.exitCode, message: error.message } };
  } finally {
    await model?.close();
  }
}

/** A value as JSON can write it. */
function plain(value) {
  if (ArrayBuffer.isView(value)) return Array.from(value, Number);
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
  }
  return value;
}
