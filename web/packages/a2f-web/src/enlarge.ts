/** A picture's pixels through one or two passes of a network, and to an exact size: rows of bytes come out. */
import { EnlargedAlpha, fillHidden } from "./alpha";
import { UpscaleError } from "./errors";
import { FeaturesInFile, FeaturesInMemory } from "./features";
import type { Model } from "./model";
import { Resampler } from "./resample";
import type { Size } from "./sizes";
import { type Plan, type RunStep, TiledRun, passesOf, slotsOf } from "./tiled";

/** Decoded pixels: RGBA, one byte a channel, alpha not multiplied in. */
export interface Pixels extends Size {
  readonly data: Uint8ClampedArray;
  /** The file says so: the result is the luma of what the network makes. */
  readonly grey: boolean;
}

/** A network and how to run its steps. */
export interface Engine {
  readonly model: Model;
  readonly run: RunStep;
  /** Pixels of a tile that suit. */
  readonly tileArea: number;
  readonly widest: number;
}

export interface Limits {
  /** Side of a tile in LR pixels; 0 chooses. */
  readonly tile: number;
  /** Bytes of features that may lie in memory; more lie in a file. */
  readonly maxMemory: number;
}

/** Takes rows of RGBA from the top. */
export type Sink = (row: Uint8ClampedArray) => Promise<void>;

export interface Control {
  /** Called between tiles with the share of the work that is done; it may throw to end the work. */
  readonly tick: (share: number) => Promise<void>;
}

interface Image extends Size {
  /** [3, H, W] in [0, 1]. */
  readonly rgb: Float32Array;
  readonly alpha: Float32Array | null;
}

/** What a pass reads: rows of [3, rows, width]. */
interface Source extends Size {
  readonly rows: (top: number, bottom: number) => Float32Array;
  readonly alpha: Float32Array | null;
}

const LUMA = [0.299, 0.587, 0.114] as const;

/** How an image of this size is cut. */
export function planFor(engine: Engine, size: Size, limits: Limits): Plan {
  const { model, tileArea, widest } = engine;
  const tileWidth = limits.tile || Math.min(size.width, widest);
  const tileHeight = limits.tile || Math.min(size.height, Math.max(8, Math.floor(tileArea / tileWidth)));
  const row = slotsOf(model) * model.channels * size.width * 4;
  const inFile = row * size.height > limits.maxMemory;
  const bandRows = Math.max(tileHeight, Math.min(256, Math.floor(limits.maxMemory / 4 / row)));
  return { tileWidth, tileHeight, bandRows, inFile };
}

/** Whether any pixel is not opaque. */
export function isTransparent(pixels: Pixels): boolean {
  for (let k = 3; k < pixels.data.length; k += 4) if (pixels.data[k] !== 255) return true;
  return false;
}

/**
 * Enlarge a picture.
 *
 * @param pixels of the picture.
 * @param engines of the passes, in order; none only resizes.
 * @param target exact size of the result; another size than the passes give is resized to.
 */
export async function enlarge(
  pixels: Pixels,
  engines: readonly Engine[],
  target: Size,
  limits: Limits,
  sink: Sink,
  control: Control,
): Promise<void> {
  const work = new Work(engines, pixels, isTransparent(pixels), control);
  let source = sourceOf(pixels);
  for (const [k, engine] of engines.entries()) {
    const last = k === engines.length - 1;
    const alpha = source.alpha && (await enlargeAlpha(source, engine, limits, work));
    const size = { width: source.width * engine.model.scale, height: source.height * engine.model.scale };
    const rows = colourRows(source, engine, limits, work);
    if (last) return finish(rows, alpha, size, target, pixels.grey, sink);
    source = await kept(rows, alpha, size);
  }
  await finish(rowsOf(source), source.alpha, source, target, pixels.grey, sink);
}

/** Counts what is done over all passes. */
class Work {
  private done = 0;
  private readonly all: number;

  constructor(
    engines: readonly Engine[],
    given: Size,
    transparent: boolean,
    private readonly control: Control,
  ) {
    let pixels = given.width * given.height;
    let all = 0;
    for (const { model } of engines) {
      all += pixels * passesOf(model) * (transparent ? 2 : 1);
      pixels *= model.scale ** 2;
    }
    this.all = all;
  }

  readonly afterTile = async (pixels: number): Promise<void> => {
    this.done += pixels;
    await this.control.tick(this.done / this.all);
  };
}

function sourceOf(pixels: Pixels): Source {
  const { data, width, height } = pixels;
  if (!isTransparent(pixels)) {
    return { width, height, alpha: null, rows: (top, bottom) => planes(data, width, top, bottom) };
  }
  const alpha = new Float32Array(width * height);
  for (let k = 0; k < alpha.length; k++) alpha[k] = data[4 * k + 3] / 255;
  const rgb = fillHidden(planes(data, width, 0, height), alpha, width, height);
  return fromPlanes({ width, height, rgb, alpha });
}

/** Rows of RGBA bytes as [3, rows, width] in [0, 1]. */
function planes(data: Uint8ClampedArray, width: number, top: number, bottom: number): Float32Array {
  const n = (bottom - top) * width;
  const out = new Float32Array(3 * n);
  for (let k = 0, at = 4 * top * width; k < n; k++, at += 4) {
    out[k] = data[at] / 255;
    out[n + k] = data[at + 1] / 255;
    out[2 * n + k] = data[at + 2] / 255;
  }
  return out;
}

function fromPlanes({ width, height, rgb, alpha }: Image): Source {
  const rows = (top: number, bottom: number): Float32Array => {
    const n = (bottom - top) * width;
    const out = new Float32Array(3 * n);
    for (let c = 0; c < 3; c++) {
      const from = c * width * height + top * width;
      out.set(rgb.subarray(from, from + n), c * n);
    }
    return out;
  };
  return { width, height, alpha, rows };
}

/** Rows [3, width] of a source, from the top. */
async function* rowsOf(source: Source): AsyncGenerator<Float32Array> {
  for (let y = 0; y < source.height; y++) yield source.rows(y, y + 1);
}

/** Rows [3, scale * width] of an enlargement, in [0, 1], from the top. */
async function* colourRows(source: Source, engine: Engine, limits: Limits, work: Work): AsyncGenerator<Float32Array> {
  for await (const row of networkRows(source, engine, limits, work)) yield row.map(clipped);
}

/** What the network makes, which may go beyond [0, 1]. */
async function* networkRows(source: Source, engine: Engine, limits: Limits, work: Work): AsyncGenerator<Float32Array> {
  const { model, run } = engine;
  const { width, height } = source;
  const plan = planFor(engine, source, limits);
  const channels = slotsOf(model) * model.channels;
  const features = plan.inFile
    ? await FeaturesInFile.open(channels, height, width)
    : new FeaturesInMemory(channels, height, width);
  try {
    const tiled = new TiledRun(model, run, source.rows, height, width, plan, features, work.afterTile);
    const wide = model.scale * width;
    for await (const { data, rows } of tiled.bands()) {
      for (let y = 0; y < rows; y++) {
        const row = new Float32Array(3 * wide);
        for (let c = 0; c < 3; c++) {
          const from = (c * rows + y) * wide;
          row.set(data.subarray(from, from + wide), c * wide);
        }
        yield row;
      }
    }
  } finally {
    await features.close();
  }
}

async function enlargeAlpha(source: Source, engine: Engine, limits: Limits, work: Work): Promise<Float32Array> {
  const { width, height } = source;
  const alpha = source.alpha!;
  const large = new EnlargedAlpha(alpha, width, height, engine.model.scale);
  const rows = (top: number, bottom: number): Float32Array => {
    const part = alpha.subarray(top * width, bottom * width);
    const out = new Float32Array(3 * part.length);
    for (let c = 0; c < 3; c++) out.set(part, c * part.length);
    return out;
  };
  let y = 0;
  for await (const row of networkRows({ width, height, alpha, rows }, engine, limits, work)) {
    large.sharpen(y++, lumaOf(row));
  }
  return large.plane;
}

/** [width] of [3, width]. */
function lumaOf(row: Float32Array): Float32Array {
  const width = row.length / 3;
  const out = new Float32Array(width);
  for (let x = 0; x < width; x++) {
    out[x] = LUMA[0] * row[x] + LUMA[1] * row[width + x] + LUMA[2] * row[2 * width + x];
  }
  return out;
}

/** All rows of a pass as the source of the next one. */
async function kept(rows: AsyncIterable<Float32Array>, alpha: Float32Array | null, size: Size): Promise<Source> {
  const { width, height } = size;
  let rgb: Float32Array;
  try {
    rgb = new Float32Array(3 * width * height);
  } catch {
    throw new UpscaleError("memory", `${width} x ${height} pixels between two passes do not fit: ask for less`);
  }
  let y = 0;
  for await (const row of rows) {
    for (let c = 0; c < 3; c++) rgb.set(row.subarray(c * width, (c + 1) * width), (c * height + y) * width);
    y++;
  }
  return fromPlanes({ width, height, rgb, alpha });
}

/** Resize if need be, round once, and hand over. */
async function finish(
  rows: AsyncIterable<Float32Array>,
  alpha: Float32Array | null,
  size: Size,
  target: Size,
  grey: boolean,
  sink: Sink,
): Promise<void> {
  const { width } = size;
  const same = width === target.width && size.height === target.height;
  if (same) {
    let y = 0;
    for await (const row of rows) {
      await sink(bytesOf(row, alpha && alpha.subarray(y * width, (y + 1) * width), grey));
      y++;
    }
    return;
  }
  const filter = alpha ? "bicubic" : "lanczos";
  const resampler = new Resampler(alpha ? 7 : 3, width, size.height, target.width, target.height, filter);
  let y = 0;
  for await (const row of rows) {
    const given = alpha ? weighted(row, alpha.subarray(y * width, (y + 1) * width)) : row;
    for (const made of resampler.push(given)) {
      if (!alpha) await sink(bytesOf(made, null, grey));
      else await sink(bytesOf(unweighted(made, target.width), made.subarray(6 * target.width), grey));
    }
    y++;
  }
}

/** Colours times alpha, colours, alpha: [7, width]. */
function weighted(row: Float32Array, alpha: Float32Array): Float32Array {
  const width = alpha.length;
  const out = new Float32Array(7 * width);
  for (let k = 0; k < row.length; k++) out[k] = row[k] * alpha[k % width];
  out.set(row, 3 * width);
  out.set(alpha, 6 * width);
  return out;
}

function unweighted(row: Float32Array, width: number): Float32Array {
  const out = new Float32Array(3 * width);
  for (let k = 0; k < out.length; k++) {
    const weight = row[6 * width + (k % width)];
    out[k] = weight > 0.02 ? row[k] / weight : row[3 * width + k];
  }
  return out;
}

function bytesOf(row: Float32Array, alpha: Float32Array | null, grey: boolean): Uint8ClampedArray {
  const width = row.length / 3;
  const values = row.map(clipped);
  const luma = grey ? lumaOf(values) : null;
  const out = new Uint8ClampedArray(4 * width);
  for (let x = 0; x < width; x++) {
    for (let c = 0; c < 3; c++) out[4 * x + c] = byteOf(luma ? luma[x] : values[c * width + x]);
    out[4 * x + 3] = alpha ? byteOf(alpha[x]) : 255;
  }
  return out;
}

function byteOf(value: number): number {
  return Math.floor(Math.fround(Math.fround(clipped(value) * 255) + 0.5));
}

function clipped(value: number): number {
  return Math.min(1, Math.max(0, value));
}
