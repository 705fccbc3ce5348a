/** Resizing of float planes, row by row: the arithmetic of Pillow's bicubic and Lanczos, which the command line uses. */

export type Filter = "bicubic" | "lanczos";

const SUPPORT: Record<Filter, number> = { bicubic: 2, lanczos: 3 };

function bicubic(x: number): number {
  const a = -0.5;
  const d = Math.abs(x);
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

function lanczos(x: number): number {
  return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
}

interface Taps {
  /** For each output: the first input that counts. */
  readonly first: Int32Array;
  readonly weights: readonly Float64Array[];
}

/** Which inputs make up each output, and their weights; reductions are antialiased. */
export function tapsOf(from: number, to: number, filter: Filter): Taps {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const support = SUPPORT[filter] * stretch;
  const kernel = filter === "bicubic" ? bicubic : lanczos;
  const first = new Int32Array(to);
  const weights: Float64Array[] = [];
  for (let k = 0; k < to; k++) {
    const centre = (k + 0.5) * scale;
    const low = Math.max(0, Math.trunc(centre - support + 0.5));
    const high = Math.min(from, Math.trunc(centre + support + 0.5));
    const own = new Float64Array(high - low);
    let sum = 0;
    for (let x = 0; x < own.length; x++) sum += own[x] = kernel((x + low - centre + 0.5) / stretch);
    if (sum !== 0) for (let x = 0; x < own.length; x++) own[x] /= sum;
    first[k] = low;
    weights.push(own);
  }
  return { first, weights };
}

/** Takes rows from the top and gives resized rows as soon as all that they need is there. */
export class Resampler {
  private readonly across: Taps | null;
  private readonly down: Taps | null;
  private readonly kept = new Map<number, Float32Array>();
  private taken = 0;
  private given = 0;

  constructor(
    private readonly planes: number,
    private readonly width: number,
    private readonly height: number,
    private readonly newWidth: number,
    private readonly newHeight: number,
    filter: Filter,
  ) {
    this.across = width === newWidth ? null : tapsOf(width, newWidth, filter);
    this.down = height === newHeight ? null : tapsOf(height, newHeight, filter);
  }

  /**
   * @param row [planes, width]
   * @returns resized rows, [planes, newWidth] each.
   */
  push(row: Float32Array): Float32Array[] {
    const wide = this.widened(row);
    this.taken++;
    if (!this.down) return [wide];
    this.kept.set(this.taken - 1, wide);
    const ready: Float32Array[] = [];
    while (this.given < this.newHeight) {
      const first = this.down.first[this.given];
      const weights = this.down.weights[this.given];
      if (first + weights.length > this.taken) break;
      ready.push(this.column(first, weights));
      this.given++;
    }
    const needed = this.given < this.newHeight ? this.down.first[this.given] : this.height;
    for (const key of this.kept.keys()) if (key < needed) this.kept.delete(key);
    return ready;
  }

  private widened(row: Float32Array): Float32Array {
    if (!this.across) return row.slice();
    const { first, weights } = this.across;
    const out = new Float32Array(this.planes * this.newWidth);
    for (let p = 0; p < this.planes; p++) {
      for (let k = 0; k < this.newWidth; k++) {
        const own = weights[k];
        const from = p * this.width + first[k];
        let sum = 0;
        for (let x = 0; x < own.length; x++) sum += row[from + x] * own[x];
        out[p * this.newWidth + k] = sum;
      }
    }
    return out;
  }

  private column(first: number, weights: Float64Array): Float32Array {
    const sums = new Float64Array(this.planes * this.newWidth);
    for (let k = 0; k < weights.length; k++) {
      const row = this.kept.get(first + k)!;
      for (let x = 0; x < sums.length; x++) sums[x] += row[x] * weights[k];
    }
    return Float32Array.from(sums);
  }
}

/** Resize one plane as a whole. */
export function resizePlane(
  plane: Float32Array,
  width: number,
  height: number,
  newWidth: number,
  newHeight: number,
  filter: Filter,
): Float32Array {
  const resampler = new Resampler(1, width, height, newWidth, newHeight, filter);
  const out = new Float32Array(newWidth * newHeight);
  let at = 0;
  for (let y = 0; y < height; y++) {
    for (const row of resampler.push(plane.subarray(y * width, (y + 1) * width))) {
      out.set(row, at);
      at += newWidth;
    }
  }
  return out;
}
