import { IntegrityError } from "./errors.js";

const MAX_DEPTH = 8;
const MAX_PATH_BYTES = 512;
const MAX_PART_BYTES = 255;

// What Windows refuses, and control, format, surrogate, line and paragraph separator characters.
const FORBIDDEN = /[<>:"|?*\\]/;
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;
const DEVICE = /^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\..*)?$/i;
const HINT = "docs/bundle-format.md has the rules for paths";

/**
 * Refuse paths that leave the bundle, or do not mean one and the same file on every system.
 *
 * @throws IntegrityError naming the path and the rule it breaks.
 */
export function checkPaths(paths: Iterable<string>): void {
  const files = new Map<string, string>();
  const folders = new Map<string, string>();
  for (const path of paths) {
    const broken = problem(path);
    if (broken) throw new IntegrityError(`path '${path.slice(0, MAX_PATH_BYTES)}': ${broken}`, HINT);
    const first = files.get(folded(path));
    if (first !== undefined) throw collision(path, first);
    files.set(folded(path), path);
    const parts = path.split("/");
    for (let depth = 1; depth < parts.length; depth += 1) {
      const folder = parts.slice(0, depth).join("/");
      const earlier = folders.get(folded(folder));
      if (earlier !== undefined && earlier !== folder) throw collision(folder, earlier);
      folders.set(folded(folder), folder);
    }
  }
  for (const key of folders.keys()) {
    const file = files.get(key);
    if (file !== undefined) throw new IntegrityError(`path '${file}': is a file and also a folder`, HINT);
  }
}

function problem(path: string): string {
  if (INVISIBLE.test(path)) return "holds a control or format character";
  if (path.normalize("NFC") !== path) return "is not in Unicode form NFC";
  if (bytes(path) > MAX_PATH_BYTES) return `is longer than ${MAX_PATH_BYTES} bytes`;
  const parts = path.split("/");
  if (parts.length > MAX_DEPTH) return `is deeper than ${MAX_DEPTH} parts`;
  for (const part of parts) {
    if (part === "" || part === "." || part === "..") return `has the part '${part}'; paths are relative`;
    if (bytes(part) > MAX_PART_BYTES) return `has a part longer than ${MAX_PART_BYTES} bytes`;
    const found = FORBIDDEN.exec(part);
    if (found) return `holds '${found[0]}'`;
    if (/[. ]$/.test(part)) return `has the part '${part}', which ends with a dot or space`;
    if (DEVICE.test(part)) return `has the part '${part}', a device's name on Windows`;
  }
  return "";
}

function bytes(text: string): number {
  return new TextEncoder().encode(text).length;
}

/** Compatibility caseless form. Upper case first: that is how JavaScript folds the sharp s and the final sigma. */
function folded(path: string): string {
  const once = path.normalize("NFKD").toUpperCase().toLowerCase().normalize("NFKD");
  return once.toUpperCase().toLowerCase().normalize("NFKD");
}

function collision(path: string, first: string): IntegrityError {
  const what = path === first ? "is listed twice" : `differs from '${first}' only by case or Unicode form`;
  return new IntegrityError(`path '${path}': ${what}`, HINT);
}
