/** A PNG written row by row, so that its size is not bounded by a canvas. */
import type { Size } from "./sizes";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/** The checksum of PNG (ISO 3309), of bytes that follow each other. */
export function crc32(...parts: Uint8Array[]): number {
  let crc = 0xffffffff;
  for (const part of parts) for (const byte of part) crc = CRC_TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** A chunk with its length and checksum. */
export function chunk(name: string, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(12 + data.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, data.length);
  for (let k = 0; k < 4; k++) out[4 + k] = name.charCodeAt(k);
  out.set(data, 8);
  view.setUint32(8 + data.length, crc32(out.subarray(4, 8 + data.length)));
  return out;
}

/** Bytes in zlib's format. */
export async function deflated(data: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([data as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Compressed bytes that are unpacked at a time: DEFLATE makes at most 1032 times as many of them. */
const UNPACKED_AT_ONCE = 1024;

/**
 * Unpack bytes in zlib's format.
 *
 * @param maxBytes bytes that may come out; little more than a megabyte beyond is ever held.
 * @returns null if more would come out.
 * @throws Error if the data is damaged.
 */
export async function inflated(data: Uint8Array<ArrayBuffer>, maxBytes: number): Promise<Uint8Array<ArrayBuffer> | null> {
  let at = 0;
  // Streams of a Blob come in large pieces, and the browser unpacks a piece as a whole.
  const pieces = new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      pull(controller) {
        if (at >= data.length) return controller.close();
        controller.enqueue(data.subarray(at, (at += UNPACKED_AT_ONCE)));
      },
    },
    { highWaterMark: 0 },
  );
  const reader = pieces.pipeThrough(new DecompressionStream("deflate")).getReader();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let bytes = 0;
  for (let got = await reader.read(); !got.done; got = await reader.read()) {
    bytes += got.value.length;
    if (bytes > maxBytes) {
      await reader.cancel();
      return null;
    }
    parts.push(got.value);
  }
  return joined(...parts);
}

/** Bytes one behind the other. */
export function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

export interface PngKind {
  readonly grey: boolean;
  readonly alpha: boolean;
}

/** Takes rows of RGBA from the top. */
export class PngWriter {
  private readonly parts: Uint8Array<ArrayBuffer>[] = [];
  private readonly compression = new CompressionStream("deflate");
  private readonly writer = this.compression.writable.getWriter();
  private readonly finished: Promise<void>;
  private readonly channels: number;
  private before: Uint8Array<ArrayBuffer>;

  /**
   * @param size of the picture.
   * @param kind of its pixels: four kinds of 8 bits.
   * @param ancillary chunks that come before the pixels.
   */
  constructor(
    size: Size,
    private readonly kind: PngKind,
    ancillary: readonly Uint8Array<ArrayBuffer>[] = [],
  ) {
    this.channels = (kind.grey ? 1 : 3) + (kind.alpha ? 1 : 0);
    const header = new Uint8Array(13);
    const view = new DataView(header.buffer);
    view.setUint32(0, size.width);
    view.setUint32(4, size.height);
    header[8] = 8;
    header[9] = (kind.grey ? 0 : 2) + (kind.alpha ? 4 : 0);
    this.parts.push(Uint8Array.from(SIGNATURE), chunk("IHDR", header), ...ancillary);
    this.before = new Uint8Array(size.width * this.channels);
    this.finished = this.collect();
  }

  async row(rgba: Uint8ClampedArray): Promise<void> {
    const row = this.packed(rgba);
    const filtered = bestFilter(row, this.before, this.channels);
    this.before = row;
    await this.writer.ready;
    // A failure shows at `ready` of the next row or at `end`.
    this.writer.write(filtered).catch(() => undefined);
  }

  async end(): Promise<Blob> {
    await this.writer.close();
    await this.finished;
    return new Blob([...this.parts, chunk("IEND", new Uint8Array(0))], { type: "image/png" });
  }

  private async collect(): Promise<void> {
    let held: Uint8Array[] = [];
    let bytes = 0;
    const flush = (): void => {
      this.parts.push(chunk("IDAT", joined(...held)));
      held = [];
      bytes = 0;
    };
    const reader = this.compression.readable.getReader();
    for (let got = await reader.read(); !got.done; got = await reader.read()) {
      held.push(got.value);
      bytes += got.value.length;
      if (bytes > 1 << 20) flush();
    }
    flush();
  }

  private packed(rgba: Uint8ClampedArray): Uint8Array<ArrayBuffer> {
    const { grey, alpha } = this.kind;
    const out = new Uint8Array((rgba.length / 4) * this.channels);
    for (let from = 0, to = 0; from < rgba.length; from += 4) {
      out[to++] = rgba[from];
      if (!grey) {
        out[to++] = rgba[from + 1];
        out[to++] = rgba[from + 2];
      }
      if (alpha) out[to++] = rgba[from + 3];
    }
    return out;
  }
}

/** The row by the filter whose differences are smallest in sum, with the filter's number before it. */
function bestFilter(row: Uint8Array, above: Uint8Array, step: number): Uint8Array<ArrayBuffer> {
  const n = row.length;
  const tried = [1, 2, 4].map((filter) => {
    const out = new Uint8Array(n + 1);
    out[0] = filter;
    let sum = 0;
    for (let k = 0; k < n; k++) {
      const left = k >= step ? row[k - step] : 0;
      const corner = k >= step ? above[k - step] : 0;
      const guess = filter === 1 ? left : filter === 2 ? above[k] : paeth(left, above[k], corner);
      const difference = (row[k] - guess) & 255;
      out[k + 1] = difference;
      sum += difference < 128 ? difference : 256 - difference;
    }
    return { out, sum };
  });
  return tried.reduce((best, next) => (next.sum < best.sum ? next : best)).out;
}

function paeth(left: number, above: number, corner: number): number {
  const guess = left + above - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - above), Math.abs(guess - corner)];
  if (a <= b && a <= c) return left;
  return b <= c ? above : corner;
}
