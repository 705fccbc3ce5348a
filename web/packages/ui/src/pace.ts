/** How long the work takes, reckoned from its share that is done and from the pictures before; no elements here. */

/** Before so much is known of a picture, only the pictures before tell how long it takes. */
const MIN_SHARE = 0.15;
const MIN_S = 2;
/** Work that took less than this says little about the speed. */
const TELLING_S = 1;
/** Seconds within which a new reckoning takes the place of the last one. */
const SMOOTH_S = 4;

export type Clock = () => number;

/** Remembers how quick pictures were. */
export class Pace {
  private readonly secondsPerPixel = new Map<string, number>();

  /** @param now gives milliseconds. */
  constructor(private readonly now: Clock = () => performance.now()) {}

  /**
   * Watch the work on one picture.
   *
   * @param kind of work; each has a speed of its own.
   * @param pixels of the given picture; null where they are unknown.
   */
  watch(kind: string, pixels: number | null): Watch {
    const known = this.secondsPerPixel.get(kind);
    const expected = known === undefined || pixels === null ? null : known * pixels;
    return new Watch(this.now, expected, (seconds) => {
      if (pixels === null || seconds < TELLING_S) return;
      const speed = seconds / pixels;
      this.secondsPerPixel.set(kind, known === undefined ? speed : (known + speed) / 2);
    });
  }
}

/** Watches the work on one picture. */
export class Watch {
  private began: number | null = null;
  private ends: number | null = null;
  private told = 0;

  constructor(
    private readonly now: Clock,
    private readonly expected: number | null,
    private readonly learn: (seconds: number) => void,
  ) {}

  /** Seconds left when a share in [0, 1] is done; null until it is known. */
  left(share: number): number | null {
    const at = this.now() / 1000;
    this.began ??= at;
    const whole = this.whole(share, at - this.began);
    if (whole === null) return null;
    const ends = Math.max(at, this.began + whole);
    const weight = this.ends === null ? 1 : 1 - Math.exp(-(at - this.told) / SMOOTH_S);
    this.ends = (this.ends ?? ends) + weight * (ends - (this.ends ?? ends));
    this.told = at;
    return Math.max(0, this.ends - at);
  }

  /** Learn from work that is done. */
  done(): void {
    if (this.began !== null) this.learn(this.now() / 1000 - this.began);
  }

  /** Seconds of all the work: as expected at first, as measured at the end. */
  private whole(share: number, seconds: number): number | null {
    if (share < MIN_SHARE || seconds < MIN_S) return this.expected;
    const measured = seconds / share;
    return this.expected === null ? measured : share * measured + (1 - share) * this.expected;
  }
}
