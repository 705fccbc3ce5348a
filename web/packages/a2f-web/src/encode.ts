/** Rows of RGBA to what the caller wants: an ImageData, or a file. */
import { UpscaleError } from "./errors";
import { type Metadata, fitsJpeg, forJpeg, inJpeg, inWebp, pngChunks } from "./metadata";
import { PngWriter } from "./png";
import type { Size } from "./sizes";

/** Formats that are written. */
export type Format = "image/png" | "image/jpeg" | "image/webp";

/** WebP's own bound, which all browsers' canvases hold for JPEG as well. */
const LONGEST = 16383;
const LARGEST = 1 << 28;

/** Takes rows from the top. */
export interface Encoder<T> {
  row(rgba: Uint8ClampedArray): Promise<void>;
  end(): Promise<T>;
}

/** Collects pixels. */
export class RawEncoder implements Encoder<Uint8ClampedArray<ArrayBuffer>> {
  private readonly data: Uint8ClampedArray<ArrayBuffer>;
  private at = 0;

  constructor(size: Size) {
    try {
      this.data = new Uint8ClampedArray(4 * size.width * size.height);
    } catch {
      throw new UpscaleError("memory", `${size.width} x ${size.height} pixels do not fit: give a Blob and ask for PNG`);
    }
  }

  async row(rgba: Uint8ClampedArray): Promise<void> {
    this.data.set(rgba, this.at);
    this.at += rgba.length;
  }

  async end(): Promise<Uint8ClampedArray<ArrayBuffer>> {
    return this.data;
  }
}

/** JPEG and WebP, by the browser's own encoders. */
class CanvasEncoder implements Encoder<Blob> {
  private readonly canvas: OffscreenCanvas;
  private readonly context: OffscreenCanvasRenderingContext2D;
  private y = 0;

  constructor(
    private readonly size: Size,
    private readonly format: "image/jpeg" | "image/webp",
    private readonly quality: number,
    private readonly alpha: boolean,
    private readonly metadata: Metadata,
  ) {
    const { width, height } = size;
    this.canvas = new OffscreenCanvas(width, height);
    const context = this.canvas.getContext("2d", { alpha, willReadFrequently: true });
    if (Math.max(width, height) > LONGEST || width * height > LARGEST || !context) {
      throw new UpscaleError("encode", `${width} x ${height} is too large for ${format}: choose PNG, which has no bound`);
    }
    this.context = context;
  }

  async row(rgba: Uint8ClampedArray): Promise<void> {
    this.context.putImageData(new ImageData(rgba as Uint8ClampedArray<ArrayBuffer>, this.size.width, 1), 0, this.y++);
  }

  async end(): Promise<Blob> {
    const blob = await this.canvas.convertToBlob({ type: this.format, quality: this.quality / 100 });
    if (blob.type !== this.format) {
      throw new UpscaleError("encode", `this browser cannot write ${this.format}: choose PNG or JPEG`);
    }
    const file = new Uint8Array(await blob.arrayBuffer());
    const whole = this.format === "image/jpeg" ? inJpeg(file, this.metadata) : inWebp(file, this.metadata, this.size, this.alpha);
    return new Blob([whole], { type: this.format });
  }
}

/** Lays white below the pixels, as JPEG needs it. */
class OnWhite implements Encoder<Blob> {
  constructor(private readonly encoder: Encoder<Blob>) {}

  async row(rgba: Uint8ClampedArray): Promise<void> {
    await this.encoder.row(onWhite(rgba));
  }

  end(): Promise<Blob> {
    return this.encoder.end();
  }
}

/** Opaque pixels: RGBA blended with white, rounded once, as `a2f upscale --force` does. */
export function onWhite(rgba: Uint8ClampedArray): Uint8ClampedArray {
  const out = new Uint8ClampedArray(rgba.length).fill(255);
  for (let at = 0; at < rgba.length; at += 4) {
    const alpha = rgba[at + 3] / 255;
    for (let c = at; c < at + 3; c++) out[c] = Math.floor(rgba[c] * alpha + 255 * (1 - alpha) + 0.5);
  }
  return out;
}

export interface Wanted {
  readonly format: Format;
  readonly quality: number;
  /** Accept that JPEG cannot hold all. */
  readonly force: boolean;
}

/** The encoder of a file format, and notes about what it leaves out. */
export async function encoderFor(
  { format, quality, force }: Wanted,
  size: Size,
  kind: { grey: boolean; alpha: boolean },
  given: Metadata,
): Promise<{ encoder: Encoder<Blob>; notes: readonly string[] }> {
  if (format === "image/png") return { encoder: new PngWriter(size, kind, await pngChunks(given)), notes: [] };
  if (format === "image/webp") return { encoder: new CanvasEncoder(size, format, quality, kind.alpha, given), notes: [] };
  if (kind.alpha && !force) {
    const told = "JPEG cannot hold transparency: choose PNG or WebP, or fill transparent parts with white by force: true";
    throw new UpscaleError("encode", told, ["force=true"], fitsJpeg(given) ? ["transparency"] : ["transparency", "metadata"]);
  }
  const { metadata, notes } = forJpeg(given, force);
  const encoder = new CanvasEncoder(size, format, quality, false, metadata);
  return { encoder: kind.alpha ? new OnWhite(encoder) : encoder, notes };
}
