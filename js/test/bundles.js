import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";

/** A bundle of format 2.0 that embeds texts, with a graph of a few kilobytes. */
export const RELEASED = join(dirname(fileURLToPath(import.meta.url)), "../../tests/released/tiny-2.0");

/** A copy of it to plant a fault in; gone when the test ends. */
export function copied(test, from = RELEASED) {
  const folder = mkdtempSync(join(tmpdir(), "edgekit-"));
  test.after(() => rmSync(folder, { recursive: true }));
  cpSync(from, folder, { recursive: true });
  return folder;
}

/** Change `edgekit.json` and seal it again: what remains wrong is the change itself. */
export function changed(folder, change) {
  const file = join(folder, "edgekit.json");
  const document = JSON.parse(readFileSync(file, "utf8"));
  change(document);
  writeFileSync(file, sealed(document));
}

/** The bytes of a manifest with its checksum. */
export function sealed(document) {
  const blank = JSON.stringify({ ...document, checksum: "0".repeat(64) });
  return Buffer.from(blank.replace("0".repeat(64), createHash("sha256").update(blank).digest("hex")));
}

/** The released manifest as an object. */
export function released() {
  return JSON.parse(readFileSync(join(RELEASED, "edgekit.json"), "utf8"));
}

/** Flip one bit of a file. */
export function flip(file, place = 0) {
  const data = readFileSync(file);
  data[place] ^= 1;
  writeFileSync(file, data);
}
