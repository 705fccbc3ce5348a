/**
 * One image through the network, block by block and tile by tile, with the gates of the whole image.
 *
 * It mirrors src/a2f/runtime/tiled.py. The gates of a block pool over the whole image (Eq. 7), but their means are known
 * from the features before the block, so that every tile computes what a run of the whole image would compute.
 */
import type { Band, Features } from "./features";
import { gateOf } from "./gates";
import type { Model } from "./model";

const BLOCK_HALO = 2;
const TAIL_HALO = 1;

/** Rectangles of LR pixels: rows top .. bottom - 1, columns left .. right - 1. */
export interface Tile {
  readonly top: number;
  readonly left: number;
  readonly bottom: number;
  readonly right: number;
}

/** How an image is cut. */
export interface Plan {
  /** LR pixels. */
  readonly tileHeight: number;
  readonly tileWidth: number;
  /** LR rows that are in memory at a time if the features lie in a file, and that are enlarged at a time. */
  readonly bandRows: number;
  readonly inFile: boolean;
}

/** A tensor: [1, channels, height, width]. */
export interface Tensor {
  readonly data: Float32Array;
  readonly dims: readonly [number, number, number, number];
}

/** Runs one of the graphs of a model. */
export type RunStep = (step: string, inputs: Record<string, Tensor>) => Promise<Record<string, Tensor>>;

/** Gives rows top .. bottom - 1 of the LR image: [3, rows, width] in [0, 1]. */
export type Rows = (top: number, bottom: number) => Float32Array;

/** A band of the result: [3, rows, scale * width], not clipped. */
export interface ResultBand {
  readonly data: Float32Array;
  readonly rows: number;
}

/** Called between tiles: reports how many pixels are done over all passes over the image, and may throw to end it. */
export type AfterTile = (pixels: number) => Promise<void>;

/** Features of C channels that are kept at a time, at most. */
export function slotsOf(model: Model): number {
  return Math.max(model.middle + 1, model.blocks - model.middle + 1);
}

/** Passes over the image: head, blocks and tail. */
export function passesOf(model: Model): number {
  return model.blocks + 2;
}

/** One image on its way through the network. */
export class TiledRun {
  private readonly means: number[] = [];
  private readonly masks = new Map<string, Float32Array>();

  constructor(
    private readonly model: Model,
    private readonly run: RunStep,
    private readonly rows: Rows,
    private readonly height: number,
    private readonly width: number,
    private readonly plan: Plan,
    private readonly features: Features,
    private readonly afterTile: AfterTile,
  ) {}

  /** Enlarge; gives bands of the result from the top. */
  async *bands(): AsyncGenerator<ResultBand> {
    await this.level(0);
    for (let number = 1; number <= this.model.blocks; number++) {
      if (number === this.model.middle + 1) await this.exchange();
      await this.level(number);
    }
    for (const [top, bottom] of cuts(0, this.height, this.plan.bandRows)) yield await this.tail(top, bottom);
  }

  /** Where x_level lies. */
  private slot(level: number): number {
    return level <= this.model.middle ? level : level - this.model.middle - 1;
  }

  /** Where block `number` finds x_{number-1}: what lies at the exchange comes to lie behind all sums. */
  private slotBefore(number: number): number {
    const { blocks, middle } = this.model;
    return number === middle + 1 ? blocks - middle : this.slot(number - 1);
  }

  private workBands(): [number, number][] {
    return this.plan.inFile ? cuts(0, this.height, this.plan.bandRows) : [[0, this.height]];
  }

  /** Compute x_number everywhere, and its means. */
  private async level(number: number): Promise<void> {
    const { channels, blocks, middle } = this.model;
    const first = this.slot(number) * channels;
    const last = number > middle ? (blocks - middle) * channels : first + channels;
    const gate = number === 0 ? null : gateOf(this.model.gates[number - 1], Float64Array.from(this.means));
    const sums = new Float64Array(channels);
    for (const [top, bottom] of this.workBands()) {
      const out = this.features.buffer(first, last, top, bottom);
      if (gate === null) await this.head(out);
      else await this.block(number, gate, out);
      addRows(sums, out);
      this.features.write(out);
    }
    for (const sum of sums) this.means.push(sum / (this.height * this.width));
  }

  private async head(out: Band): Promise<void> {
    const halo = this.model.headHalo;
    const lr = this.lr(out.top, out.bottom, halo);
    for (const tile of this.tiles(out.top, out.bottom)) {
      const made = await this.run("head", { lr: this.cut(lr, tile, halo, this.model.mean) });
      this.place(made["x"], out, out.first, tile);
      await this.done(tile);
    }
  }

  private async block(number: number, gate: Float32Array, out: Band): Promise<void> {
    const { channels: c, blocks, middle } = this.model;
    const slot = this.slotBefore(number);
    const { top, bottom } = out;
    const above = Math.max(0, top - BLOCK_HALO);
    const before = this.features.read(slot * c, (slot + 1) * c, above, Math.min(this.height, bottom + BLOCK_HALO));
    const others: [string, Band][] = [];
    if (number > middle) {
      others.push(["sums", this.features.read(this.slot(number) * c, (blocks - middle) * c, top, bottom)]);
    } else if (number > 1) {
      others.push(["earlier", this.features.read(0, (number - 1) * c, top, bottom)]);
    }
    for (const tile of this.tiles(top, bottom)) {
      const inputs: Record<string, Tensor> = {
        before: this.cut(before, tile, BLOCK_HALO),
        mask: this.mask(tile),
        gate: { data: gate, dims: [1, c, 1, 1] },
      };
      for (const [name, band] of others) inputs[name] = this.cut(band, tile, 0);
      const made = await this.run(`block_${number}`, inputs);
      this.place(made["x"], out, out.first, tile);
      if (made["later"]) this.place(made["later"], out, out.first + c, tile);
      await this.done(tile);
    }
  }

  /** x_0 .. x_k become, in their place, the sums of the blocks to come; x_k stays behind them. */
  private async exchange(): Promise<void> {
    const { channels: c, blocks, middle: k } = this.model;
    for (const [top, bottom] of this.workBands()) {
      const kept = this.features.read(0, (k + 1) * c, top, bottom);
      const out = this.features.buffer(0, (blocks - k) * c, top, bottom);
      if (blocks - k !== k) {
        const moved = this.features.buffer((blocks - k) * c, (blocks - k + 1) * c, top, bottom);
        copyBand(this.features.read(k * c, (k + 1) * c, top, bottom), moved);
        this.features.write(moved);
      }
      for (const tile of this.tiles(top, bottom)) {
        const made = await this.run("exchange", { features: this.cut(kept, tile, 0) });
        this.place(made["sums"], out, 0, tile);
      }
      this.features.write(out);
    }
  }

  private async tail(top: number, bottom: number): Promise<ResultBand> {
    const { channels: c, blocks, scale: s, mean } = this.model;
    const slot = this.slot(blocks);
    const above = Math.max(0, top - TAIL_HALO);
    const before = this.features.read(slot * c, (slot + 1) * c, above, Math.min(this.height, bottom + TAIL_HALO));
    const lr = this.lr(top, bottom, TAIL_HALO);
    const rows = s * (bottom - top);
    const out = new Float32Array(3 * rows * s * this.width);
    const stride = s * this.width;
    for (const tile of this.tiles(top, bottom)) {
      const inputs = { before: this.cut(before, tile, TAIL_HALO), lr: this.cut(lr, tile, TAIL_HALO, mean) };
      const { data, dims } = (await this.run("tail", inputs))["sr"];
      const [, , h, w] = dims;
      for (let colour = 0; colour < 3; colour++) {
        for (let y = 0; y < h; y++) {
          const from = (colour * h + y) * w;
          const to = (colour * rows + s * (tile.top - top) + y) * stride + s * tile.left;
          out.set(data.subarray(from, from + w), to);
        }
      }
      await this.done(tile);
    }
    return { data: out, rows };
  }

  private lr(top: number, bottom: number, halo: number): Band {
    const above = Math.max(0, top - halo);
    const below = Math.min(this.height, bottom + halo);
    const planes = this.rows(above, below); // [3, rows, width]
    const data = new Float32Array(planes.length);
    const n = below - above;
    for (let y = 0; y < n; y++) {
      for (let colour = 0; colour < 3; colour++) {
        const from = (colour * n + y) * this.width;
        data.set(planes.subarray(from, from + this.width), (y * 3 + colour) * this.width);
      }
    }
    return { data, first: 0, end: 3, top: above, bottom: below, offset: 0, stride: 3 * this.width, width: this.width };
  }

  private tiles(top: number, bottom: number): Tile[] {
    return cuts(top, bottom, this.plan.tileHeight).flatMap(([first, end]) =>
      cuts(0, this.width, this.plan.tileWidth).map(([left, right]) => ({ top: first, left, bottom: end, right })),
    );
  }

  /** A tile with its halo on all sides; outside the image lies `outside`, one value a channel, or 0. */
  private cut(band: Band, tile: Tile, halo: number, outside?: Float32Array): Tensor {
    const channels = band.end - band.first;
    const h = tile.bottom - tile.top + 2 * halo;
    const w = tile.right - tile.left + 2 * halo;
    const data = new Float32Array(channels * h * w);
    const left = Math.max(0, tile.left - halo);
    const right = Math.min(this.width, tile.right + halo);
    const top = Math.max(0, tile.top - halo);
    const bottom = Math.min(this.height, tile.bottom + halo);
    for (let c = 0; c < channels; c++) {
      if (outside) data.fill(outside[c], c * h * w, (c + 1) * h * w);
      for (let y = top; y < bottom; y++) {
        const from = band.offset + (y - band.top) * band.stride + c * band.width;
        const to = (c * h + y - tile.top + halo) * w + left - tile.left + halo;
        data.set(band.data.subarray(from + left, from + right), to);
      }
    }
    return { data, dims: [1, channels, h, w] };
  }

  /** 1 for the hidden features inside the image, 0 for those outside: a convolution pads with zeros there. */
  private mask(tile: Tile): Tensor {
    const h = tile.bottom - tile.top + 2;
    const w = tile.right - tile.left + 2;
    const ends = [tile.top === 0, tile.left === 0, tile.bottom === this.height, tile.right === this.width];
    const key = [h, w, ...ends].join();
    let data = this.masks.get(key);
    if (!data) {
      data = new Float32Array(h * w).fill(1);
      if (ends[0]) data.fill(0, 0, w);
      if (ends[2]) data.fill(0, (h - 1) * w);
      for (let y = 0; y < h; y++) {
        if (ends[1]) data[y * w] = 0;
        if (ends[3]) data[y * w + w - 1] = 0;
      }
      this.masks.set(key, data);
    }
    return { data, dims: [1, 1, h, w] };
  }

  private place(made: Tensor, out: Band, first: number, tile: Tile): void {
    const [, channels, h, w] = made.dims;
    for (let c = 0; c < channels; c++) {
      for (let y = 0; y < h; y++) {
        const from = (c * h + y) * w;
        const row = out.offset + (tile.top + y - out.top) * out.stride;
        out.data.set(made.data.subarray(from, from + w), row + (first - out.first + c) * out.width + tile.left);
      }
    }
  }

  private async done(tile: Tile): Promise<void> {
    await this.afterTile((tile.bottom - tile.top) * (tile.right - tile.left));
  }
}

/** Pieces of a length. */
export function cuts(first: number, end: number, step: number): [number, number][] {
  const pieces: [number, number][] = [];
  for (let at = first; at < end; at += step) pieces.push([at, Math.min(end, at + step)]);
  return pieces;
}

/** Add the sums of whole rows of the first channels; rows go from the top, so the cut makes no difference. */
function addRows(sums: Float64Array, band: Band): void {
  const { data, width } = band;
  for (let y = band.top; y < band.bottom; y++) {
    for (let c = 0; c < sums.length; c++) {
      const from = band.offset + (y - band.top) * band.stride + c * width;
      let sum = 0;
      for (let x = from; x < from + width; x++) sum += data[x];
      sums[c] += sum;
    }
  }
}

function copyBand(from: Band, to: Band): void {
  const length = (from.end - from.first) * from.width;
  for (let y = 0; y < from.bottom - from.top; y++) {
    const begin = from.offset + y * from.stride;
    to.data.set(from.data.subarray(begin, begin + length), to.offset + y * to.stride);
  }
}
