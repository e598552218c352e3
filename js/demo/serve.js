// Serves the package and a bundle to this machine alone: node demo/serve.js BUNDLE [PORT]
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
  ".json": "application/json",
};
const [bundle, port = "8080"] = process.argv.slice(2);
if (!bundle) {
  console.error("usage: node demo/serve.js BUNDLE [PORT]");
  process.exit(2);
}
const package_ = fileURLToPath(new URL("..", import.meta.url));
const roots = {
  bundle: resolve(bundle),
  demo: join(package_, "demo"),
  dist: join(package_, "dist"),
  node_modules: join(package_, "node_modules"),
};

createServer(async (request, response) => {
  const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
  const [, top, ...rest] = path.split(sep);
  if (!top) return response.writeHead(302, { location: "/demo/?bundle=/bundle/" }).end();
  const root = Object.hasOwn(roots, top) ? roots[top] : undefined;
  const file = root && join(root, ...rest, path.endsWith(sep) ? "index.html" : "");
  const found = file && (await stat(file).catch(() => undefined));
  if (!found?.isFile()) return response.writeHead(404).end();
  response.writeHead(200, {
    "content-type": TYPES[extname(file)] ?? "application/octet-stream",
    "content-length": found.size,
    // Isolated from other pages, so that more than one thread could be asked for.
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
  });
  createReadStream(file).pipe(response);
}).listen(Number(port), "127.0.0.1", () => console.log(`http://127.0.0.1:${port}/`));
