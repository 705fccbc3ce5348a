/** The pictures, and what becomes of each; no elements here. */
import type { Backend, Status, Wish } from "./backend";
import { bytesText } from "./texts";

export type State = "waiting" | "running" | "done" | "failed" | "cancelled";

export interface Picture {
  readonly id: number;
  readonly file: File;
  /** Null where this browser cannot show the file. */
  readonly before: ImageBitmap | null;
  /** Whether the back end takes no such file. */
  readonly isRefused: boolean;
  state: State;
  /** Of the work, in [0, 1]; null while it is unknown. */
  share: number | null;
  secondsLeft: number | null;
  note: string;
  error: string;
  result: Result | null;
}

export interface Result {
  readonly blob: Blob;
  readonly bitmap: ImageBitmap | null;
  readonly wish: Wish;
}

/** Longest side of what is drawn; larger pictures are shown smaller. */
const SHOWN = 8192;

export class Queue {
  readonly pictures: Picture[] = [];
  private nextId = 1;
  private stop: AbortController | null = null;
  private current: Picture | null = null;

  /** @param changed called after each change of a picture. */
  constructor(
    private readonly backend: Backend,
    private readonly mostBytes: number | null,
    private readonly changed: (picture: Picture | null) => void,
  ) {}

  get isRunning(): boolean {
    return this.stop !== null;
  }

  async add(file: File): Promise<Picture> {
    const before = await shown(file);
    const most = this.mostBytes ?? Infinity;
    const isRefused = file.size > most;
    const picture: Picture = {
      id: this.nextId++,
      file,
      before,
      isRefused,
      state: isRefused ? "failed" : "waiting",
      share: null,
      secondsLeft: null,
      note: "",
      error: isRefused ? `The file has ${bytesText(file.size)}; the server takes ${bytesText(most)} at most.` : "",
      result: null,
    };
    this.pictures.push(picture);
    this.changed(picture);
    return picture;
  }

  remove(picture: Picture): void {
    if (this.current === picture) this.cancel();
    this.pictures.splice(this.pictures.indexOf(picture), 1);
    picture.before?.close();
    picture.result?.bitmap?.close();
    this.changed(null);
  }

  /** Pictures that have no result of this wish. */
  pending(wish: Wish): Picture[] {
    const key = JSON.stringify(wish);
    return this.pictures.filter(({ result, isRefused }) => !isRefused && JSON.stringify(result?.wish) !== key);
  }

  /** Enlarge all that are pending, one after the other; pictures that are added meanwhile too. */
  async run(wish: Wish): Promise<void> {
    this.stop = new AbortController();
    const { signal } = this.stop;
    const tried = new Set<Picture>();
    for (const picture of this.pending(wish)) {
      picture.state = "waiting";
      picture.error = "";
    }
    for (;;) {
      const next = this.pending(wish).find((picture) => !tried.has(picture));
      if (!next || signal.aborted) break;
      tried.add(next);
      await this.one(next, wish, signal);
    }
    this.stop = null;
    this.current = null;
    this.changed(null);
  }

  /** End the work. */
  cancel(): void {
    this.stop?.abort(new DOMException("cancelled", "AbortError"));
  }

  private async one(picture: Picture, wish: Wish, signal: AbortSignal): Promise<void> {
    this.current = picture;
    Object.assign(picture, { state: "running", share: null, secondsLeft: null, note: "", error: "" });
    this.changed(picture);
    const watch = stopwatch();
    try {
      const blob = await this.backend.enlarge(picture.file, wish, signal, (status) => {
        Object.assign(picture, watch(status));
        this.changed(picture);
      });
      const bitmap = await shown(blob);
      picture.result?.bitmap?.close();
      picture.result = { blob, bitmap, wish };
      picture.state = "done";
    } catch (error) {
      picture.state = signal.aborted ? "cancelled" : "failed";
      picture.error = signal.aborted ? "" : error instanceof Error ? error.message : String(error);
    }
    this.changed(picture);
  }
}

/** Adds the time that is left, from the time so far, where the back end does not tell it. */
export function stopwatch(now: () => number = () => performance.now()): (status: Status) => Status {
  let began: { at: number; share: number } | null = null;
  return (status) => {
    if (status.share === null || status.secondsLeft !== null) return status;
    began ??= { at: now(), share: status.share };
    const done = status.share - began.share;
    const seconds = (now() - began.at) / 1000;
    return done < 0.02 ? status : { ...status, secondsLeft: (seconds * (1 - status.share)) / done };
  };
}

/** A bitmap to draw; null for a file that this browser cannot show. */
async function shown(blob: Blob): Promise<ImageBitmap | null> {
  try {
    const bitmap = await createImageBitmap(blob);
    const longest = Math.max(bitmap.width, bitmap.height);
    if (longest <= SHOWN) return bitmap;
    const resizeWidth = Math.max(1, Math.round((bitmap.width * SHOWN) / longest));
    const resizeHeight = Math.max(1, Math.round((bitmap.height * SHOWN) / longest));
    const small = await createImageBitmap(bitmap, { resizeWidth, resizeHeight, resizeQuality: "high" });
    bitmap.close();
    return small;
  } catch {
    return null;
  }
}
