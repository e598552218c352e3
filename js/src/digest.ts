import { HostError, RecordError } from "./errors.js";

/** SHA-256 as 64 lower-case hexadecimal digits, by the host's WebCrypto. */
export async function sha256(data: Uint8Array): Promise<string> {
  // Browsers offer it to pages from https and from this machine only.
  const subtle = globalThis.crypto?.subtle;
  if (!subtle) {
    throw new HostError("this page cannot compute SHA-256", "serve it over https, or from localhost");
  }
  const digest = new Uint8Array(await subtle.digest("SHA-256", data as Uint8Array<ArrayBuffer>));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Whether a record's `checksum` is that of its bytes: SHA-256 with the 64 digits of the first one replaced by
 * zeros. It finds accidents, not malice: whoever changes the file can seal it again.
 *
 * @throws RecordError There is no such checksum.
 */
export async function isSealed(data: Uint8Array, name: string): Promise<boolean> {
  // latin1 has one character for each byte, so that places in the text are places in the bytes.
  const found = /"checksum": *"([0-9a-f]{64})"/.exec(new TextDecoder("latin1").decode(data));
  const digits = found?.[1];
  if (!found || digits === undefined) {
    throw new RecordError(`${name}: checksum: expected 64 lower-case hexadecimal digits`);
  }
  const start = found.index + found[0].length - 65;
  const blank = data.slice();
  blank.fill(0x30, start, start + 64);
  return (await sha256(blank)) === digits;
}
