/** The pictures, and what becomes of each; no elements here. */
import { type Abilities, type Allowed, type Backend, type Enlarged, Refusal, type Remedy, type Wish } from "./backend";
import { Pace } from "./pace";
import { type Shown, shown } from "./shown";
import { bytesText, pixelsText } from "./texts";

export type State = "waiting" | "running" | "done" | "failed" | "cancelled";

export interface Picture {
  readonly id: number;
  readonly file: File;
  /** Null where this browser cannot show the file. */
  readonly before: Shown | null;
  state: State;
  /** Of the work, in [0, 1]; null while it is unknown. */
  share: number | null;
  /** Null while it is unknown. */
  secondsLeft: number | null;
  note: string;
  failure: Failure | null;
  allowed: Allowed;
  /** The format in whose place PNG is written; undefined where none is. */
  pngInsteadOf: string | null | undefined;
  result: Result | null;
}

export interface Failure {
  readonly message: string;
  readonly remedies: readonly Remedy[];
  /** Whether other settings make no difference. */
  readonly isFinal: boolean;
  /** Of the wish that was not fulfilled. */
  readonly key: string;
}

export interface Result extends Enlarged {
  /** Null where this browser cannot show the file. */
  readonly after: Shown | null;
  readonly wish: Wish;
  readonly key: string;
}

/** How far the work is, over all pictures of a run. */
export interface Run {
  readonly done: number;
  readonly failed: number;
  readonly all: number;
  /** In [0, 1]; null while it is unknown. */
  readonly share: number | null;
}

type Limits = Pick<Abilities, "maxBytes" | "maxGiven" | "atOnce">;

export class Queue {
  readonly pictures: Picture[] = [];
  private nextId = 1;
  private readonly stops = new Map<Picture, AbortController>();
  private readonly pace = new Pace();
  private tried: Set<Picture> | null = null;
  private toDo: () => readonly Picture[] = () => [];
  private isStopped = false;

  /** @param changed called after each change of a picture, and with null when all of the work ends. */
  constructor(
    private readonly backend: Backend,
    private readonly limits: Limits,
    private readonly changed: (picture: Picture | null) => void,
  ) {}

  get isRunning(): boolean {
    return this.tried !== null;
  }

  async add(file: File): Promise<Picture> {
    const before = await shown(file);
    const message = obstacleTo(file, before, this.limits);
    const failure = message === null ? null : { message, remedies: [], isFinal: true, key: "" };
    const picture: Picture = {
      id: this.nextId++,
      file,
      before,
      state: failure ? "failed" : "waiting",
      share: null,
      secondsLeft: null,
      note: "",
      failure,
      allowed: { loss: false, truncated: false },
      pngInsteadOf: undefined,
      result: null,
    };
    this.pictures.push(picture);
    this.changed(picture);
    return picture;
  }

  remove(picture: Picture): void {
    this.stops.get(picture)?.abort(cancelled());
    this.pictures.splice(this.pictures.indexOf(picture), 1);
    picture.before?.bitmap.close();
    picture.result?.after?.bitmap.close();
    this.changed(picture);
  }

  /** Pictures without a result: not tried, or failed with other settings that may have been the reason. */
  fresh(wish: Wish): Picture[] {
    return this.pictures.filter((picture) => {
      if (picture.result) return false;
      return !picture.failure || (!picture.failure.isFinal && picture.failure.key !== keyOf(picture, wish));
    });
  }

  /** Pictures whose result was made with other settings. */
  outdated(wish: Wish): Picture[] {
    return this.pictures.filter((picture) => picture.result && picture.result.key !== keyOf(picture, wish));
  }

  /** How far the work is. */
  run(): Run {
    if (!this.tried) return { done: 0, failed: 0, all: 0, share: null };
    const tried = [...this.tried];
    const all = new Set([...tried, ...this.toDo()]).size;
    const ended = tried.filter(({ state }) => state !== "running");
    const running = tried.filter(({ state }) => state === "running");
    const share = (ended.length + running.reduce((sum, one) => sum + (one.share ?? 0), 0)) / Math.max(1, all);
    const isUnknown = ended.length === 0 && running.every((one) => one.share === null);
    const count = (state: State): number => tried.filter((one) => one.state === state).length;
    return { done: count("done"), failed: count("failed"), all, share: isUnknown ? null : share };
  }

  /**
   * Enlarge pictures.
   *
   * @param only these; without it all that are fresh, and those that are added meanwhile.
   * @returns what became of them.
   */
  async start(wish: Wish, only?: readonly Picture[]): Promise<Run> {
    const tried = (this.tried = new Set<Picture>());
    this.isStopped = false;
    this.toDo = () => (only ? only.filter((one) => this.pictures.includes(one)) : this.fresh(wish));
    for (const picture of this.toDo()) Object.assign(picture, { state: "waiting", failure: null });
    const lane = async (): Promise<void> => {
      for (;;) {
        const next = this.toDo().find((picture) => !tried.has(picture));
        if (!next || this.isStopped) return;
        tried.add(next);
        await this.one(next, wish);
      }
    };
    await Promise.all(Array.from({ length: Math.max(1, this.limits.atOnce) }, lane));
    const end = this.run();
    this.tried = null;
    this.changed(null);
    return end;
  }

  /** End the work. */
  cancel(): void {
    this.isStopped = true;
    for (const stop of this.stops.values()) stop.abort(cancelled());
  }

  private async one(picture: Picture, wish: Wish): Promise<void> {
    const stop = new AbortController();
    this.stops.set(picture, stop);
    Object.assign(picture, { state: "running", share: null, secondsLeft: null, note: "", failure: null });
    this.changed(picture);
    const [own, key] = [ownWish(picture, wish), keyOf(picture, wish)];
    const pixels = picture.before ? picture.before.width * picture.before.height : null;
    const watch = this.pace.watch(JSON.stringify([own.scale, own.model]), pixels);
    try {
      const made = await this.backend.enlarge(picture.file, own, picture.allowed, stop.signal, ({ share, note }) => {
        Object.assign(picture, { share, note, secondsLeft: share === null ? null : watch.left(share) });
        this.changed(picture);
      });
      watch.done();
      const after = await shown(made.blob);
      picture.result?.after?.bitmap.close();
      picture.result = { ...made, after, wish: own, key };
      picture.state = "done";
    } catch (error) {
      picture.state = stop.signal.aborted ? "cancelled" : "failed";
      picture.failure = stop.signal.aborted ? null : failureOf(error, key);
    }
    this.stops.delete(picture);
    this.changed(picture);
  }
}

/** Why a file is not even tried, whatever the settings; null if it is. */
export function obstacleTo(file: Blob, before: Shown | null, { maxBytes, maxGiven }: Limits): string | null {
  if (file.size === 0) return "The file is empty.";
  if (maxBytes !== null && file.size > maxBytes) {
    return `The file has ${bytesText(file.size)}; the server takes ${bytesText(maxBytes)} at most.`;
  }
  const pixels = before ? before.width * before.height : 0;
  if (maxGiven !== null && pixels > maxGiven) {
    return `The picture has ${pixelsText(pixels)}; the server takes ${pixelsText(maxGiven)} at most.`;
  }
  return null;
}

/** The wish for one picture: a person may have chosen PNG for it instead of a format that loses something. */
function ownWish({ pngInsteadOf }: Picture, wish: Wish): Wish {
  return pngInsteadOf !== undefined && pngInsteadOf === wish.format ? { ...wish, format: "png" } : wish;
}

/** The same for the same wish. */
export function keyOf(picture: Picture, wish: Wish): string {
  return JSON.stringify(ownWish(picture, wish));
}

function failureOf(error: unknown, key: string): Failure {
  if (error instanceof Refusal) return { message: error.message, remedies: error.remedies, isFinal: error.isFinal, key };
  return { message: error instanceof Error ? error.message : String(error), remedies: ["again"], isFinal: false, key };
}

function cancelled(): DOMException {
  return new DOMException("cancelled", "AbortError");
}
