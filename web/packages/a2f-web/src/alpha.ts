/** Transparency; mirrors src/a2f/pixels.py. All planes are Float32Array [H, W] in [0, 1]; colours are [3, H, W]. */
import { resizePlane } from "./resample";

/** Of the strongest alpha: below this a pixel's own colour counts ever less. */
const FAINT = 1 / 16;

interface Level {
  readonly weighted: Float32Array;
  readonly weight: Float32Array;
  readonly width: number;
  readonly height: number;
}

/**
 * Give fully transparent pixels the colour of what is visible around them, and faint ones a share of it.
 *
 * Colours, weighted with alpha, are averaged into ever smaller images and taken back from the first that has any.
 */
export function fillHidden(rgb: Float32Array, alpha: Float32Array, width: number, height: number): Float32Array {
  const peak = alpha.reduce((max, v) => Math.max(max, v), 0);
  const lowest = alpha.reduce((min, v) => Math.min(min, v), 1);
  if (peak === 0 || lowest >= FAINT * peak) return rgb;
  const weighted = rgb.map((v, k) => v * alpha[k % alpha.length]);
  const levels: Level[] = [{ weighted, weight: alpha, width, height }];
  for (let last = levels[0]; Math.max(last.width, last.height) > 1; ) {
    last = halved(last);
    levels.push(last);
  }
  let coarse = ownColours(levels[levels.length - 1]);
  for (let k = levels.length - 2; k >= 0; k--) {
    const own = k === 0 ? rgb : ownColours(levels[k]);
    coarse = blended(own, coarse, levels[k], levels[k + 1], FAINT * peak);
  }
  return coarse;
}

function ownColours({ weighted, weight }: Level): Float32Array {
  return weighted.map((v, k) => v / Math.max(weight[k % weight.length], 1e-12));
}

function blended(own: Float32Array, coarse: Float32Array, level: Level, below: Level, full: number): Float32Array {
  const { weight, width, height } = level;
  const out = new Float32Array(own.length);
  for (let c = 0; c < 3; c++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const k = y * width + x;
        const share = Math.min(1, weight[k] / full);
        const other = coarse[(c * below.height + (y >> 1)) * below.width + (x >> 1)];
        out[c * weight.length + k] = share * own[c * weight.length + k] + (1 - share) * other;
      }
    }
  }
  return out;
}

/** Mean of 2x2 blocks; odd edges are padded with nothing. */
function halved({ weighted, weight, width, height }: Level): Level {
  const w = (width + 1) >> 1;
  const h = (height + 1) >> 1;
  const plane = (from: Float32Array): Float32Array => {
    const out = new Float32Array(w * h);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) out[(y >> 1) * w + (x >> 1)] += from[y * width + x] / 4;
    }
    return out;
  };
  const small = new Float32Array(3 * w * h);
  for (let c = 0; c < 3; c++) small.set(plane(weighted.subarray(c * weight.length, (c + 1) * weight.length)), c * w * h);
  return { weighted: small, weight: plane(weight), width: w, height: h };
}

/** Alpha on its way: bicubic at first, sharpened by the network's rows from the top. */
export class EnlargedAlpha {
  /** [scale * height, scale * width] */
  readonly plane: Float32Array;
  private readonly low: Float32Array;
  private readonly high: Float32Array;

  constructor(
    alpha: Float32Array,
    private readonly width: number,
    height: number,
    private readonly scale: number,
  ) {
    this.plane = resizePlane(alpha, width, height, scale * width, scale * height, "bicubic");
    this.low = neighbourhood(alpha, width, height, Math.min);
    this.high = neighbourhood(alpha, width, height, Math.max);
  }

  /**
   * The network's sharp edge where bicubic sees one, bicubic in its tails, where ringing would show as specks.
   *
   * @param row of the enlargement.
   * @param luma of it, as the network sees alpha as a grey image.
   */
  sharpen(row: number, luma: Float32Array): void {
    const wide = luma.length;
    const lr = Math.floor(row / this.scale) * this.width;
    for (let x = 0; x < wide; x++) {
      const k = row * wide + x;
      const soft = Math.min(1, Math.max(0, this.plane[k]));
      const sharp = soft + 4 * soft * (1 - soft) * (luma[x] - soft);
      const near = lr + Math.floor(x / this.scale);
      this.plane[k] = Math.min(this.high[near], Math.max(this.low[near], sharp));
    }
  }
}

/** The smallest or largest value of each 3x3 neighbourhood. */
function neighbourhood(
  plane: Float32Array,
  width: number,
  height: number,
  pick: (a: number, b: number) => number,
): Float32Array {
  const across = new Float32Array(plane.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = (column: number): number => plane[y * width + Math.min(width - 1, Math.max(0, column))];
      across[y * width + x] = pick(pick(at(x - 1), at(x)), at(x + 1));
    }
  }
  const out = new Float32Array(plane.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = (row: number): number => across[Math.min(height - 1, Math.max(0, row)) * width + x];
      out[y * width + x] = pick(pick(at(y - 1), at(y)), at(y + 1));
    }
  }
  return out;
}
