/** What went wrong, for programs. */
export type UpscaleErrorCode = "picture" | "option" | "model" | "memory" | "engine" | "encode";

/** What a JPEG cannot hold. */
export type Loss = "transparency" | "metadata";

/** Why a picture was not enlarged. The message says what was got, what is allowed and what to do. */
export class UpscaleError extends Error {
  override readonly name = "UpscaleError";

  constructor(
    /** What kind of error it is. */
    readonly code: UpscaleErrorCode,
    message: string,
    /** Options with which it would succeed, each by itself: "force=true". */
    readonly options: readonly string[] = [],
    /** What the format would lose of the picture. */
    readonly loses: readonly Loss[] = [],
  ) {
    super(message);
  }
}
