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
  /** Bytes of a picture's file, at most; null without a bound. */
  readonly mostBytes: number | null;
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

export interface Status {
  /** Of the work, in [0, 1]; null while it waits. */
  readonly share: number | null;
  /** As the back end reckons; null where it does not. */
  readonly secondsLeft: number | null;
  /** In words, where there is something to say: "third in the queue". */
  readonly note: string;
}

export interface Backend {
  abilities(): Promise<Abilities>;
  /** Enlarge one picture; rejects with the signal's reason when it is aborted. */
  enlarge(picture: File, wish: Wish, signal: AbortSignal, tell: (status: Status) => void): Promise<Blob>;
}
