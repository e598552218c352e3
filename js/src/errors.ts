/**
 * Every error this package raises on purpose: the kinds and exit codes of edgekit's Python side.
 *
 * A message names the file, key or input; `hint` is the next thing to try.
 */
export class EdgekitError extends Error {
  readonly kind: string = "unexpected";
  readonly exitCode: number = 1;

  constructor(
    message: string,
    readonly hint: string = "",
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** The call asks for something that does not exist. */
export class UsageError extends EdgekitError {
  override readonly kind = "usage";
  override readonly exitCode = 2;
}

/** What was handed in cannot be used. */
export class InputError extends EdgekitError {
  override readonly kind: string = "input";
  override readonly exitCode = 3;
}

/** A JSON record breaks its schema; the message holds the key path. */
export class RecordError extends InputError {
  override readonly kind = "record";
}

/** A bundle is not, byte for byte, what its manifest lists. */
export class IntegrityError extends EdgekitError {
  override readonly kind = "integrity";
  override readonly exitCode = 7;
}

/** The bundle is sound, but this host cannot run it. */
export class HostError extends EdgekitError {
  override readonly kind = "host";
  override readonly exitCode = 8;
}

/** What a foreign error says, on one line. */
export function reason(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split(/\s+/).join(" ").slice(0, 400);
}
