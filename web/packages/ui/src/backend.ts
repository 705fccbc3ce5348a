/** What enlarges pictures: a worker of this page, or a server. */

export interface ModelInfo {
  readonly name: string;
  readonly scale: number;
  readonly kind: "clean" | "robust";
}

/** What a back end can do. */
export interface Abilities {
  readonly models: readonly ModelInfo[];
  /** Names of file formats: "png", "jpeg", ... */
  readonly formats: readonly string[];
  /** Bytes of a picture's file, at most; null without a limit. */
  readonly maxBytes: number | null;
  /** Pixels of a picture, at most; null without a limit. */
  readonly maxGiven: number | null;
  /** Pixels of a result, at most; null without a limit. */
  readonly maxPixels: number | null;
  /** Pictures that are enlarged at the same time. */
  readonly atOnce: number;
}

/** What a person asked for; exactly one of `scale` and the three sides counts. */
export interface Wish {
  readonly scale: number | null;
  readonly width: number | null;
  readonly height: number | null;
  readonly maxSide: number | null;
  readonly model: string;
  /** A name of `Abilities.formats`; null is that of the picture. */
  readonly format: string | null;
  readonly quality: number;
  readonly keepMetadata: boolean;
}

/** What a person allowed for one picture. */
export interface Allowed {
  /** The format may lose transparency, 16 bits or long metadata. */
  readonly loss: boolean;
  /** Of a damaged file, what can be read is enlarged. */
  readonly truncated: boolean;
}

export interface Status {
  /** Of the work, in [0, 1]; null while it waits. */
  readonly share: number | null;
  /** In words, where there is something to say: "Sending". */
  readonly note: string;
}

/** An enlarged picture. */
export interface Enlarged {
  readonly blob: Blob;
  readonly width: number;
  readonly height: number;
  /** Names of the networks of each pass, separated by commas; "none" if the picture was only resized. */
  readonly model: string;
  /** What a person should know, a sentence each. */
  readonly notes: readonly string[];
}

/** What a person can do about a picture that was not enlarged. */
export type Remedy = "again" | "as-png" | "loss" | "white" | "truncated";

/** Why a picture was not enlarged, in words for the page. */
export class Refusal extends Error {
  /**
   * @param remedies buttons that help.
   * @param isFinal whether other settings make no difference.
   */
  constructor(
    message: string,
    readonly remedies: readonly Remedy[] = [],
    readonly isFinal = false,
  ) {
    super(message);
  }
}

export interface Backend {
  abilities(): Promise<Abilities>;
  /** Enlarge one picture; rejects with a `Refusal`, or with the signal's reason when it is aborted. */
  enlarge(picture: File, wish: Wish, allowed: Allowed, signal: AbortSignal, tell: (status: Status) => void): Promise<Enlarged>;
}
