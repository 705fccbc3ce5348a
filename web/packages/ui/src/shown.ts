/** Pictures as this browser draws them: whole, and the part that is seen with all its pixels. */

export interface Shown {
  /** To draw; smaller than the picture where that is very large. */
  readonly bitmap: ImageBitmap;
  /** Of the picture. */
  readonly width: number;
  readonly height: number;
  /** Holds the pixels that the bitmap does not have; null if the bitmap has all. */
  readonly file: Blob | null;
}

/** A rectangle in pixels of a picture. */
export interface Area {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export interface Part {
  readonly area: Area;
  readonly bitmap: ImageBitmap;
}

/** Longest side of what is drawn as a whole; larger pictures are drawn smaller. */
const MAX_SIDE_PX = 8192;
/** A part reaches beyond what is seen by this share of it on each side, so that small moves need no new part. */
const MARGIN = 0.25;
/** Reading a part decodes the file: it waits until the view stands still. */
const STILL_MS = 200;

/** A picture to draw; null for a file that this browser cannot show. */
export async function shown(blob: Blob): Promise<Shown | null> {
  try {
    const bitmap = await createImageBitmap(blob);
    const { width, height } = bitmap;
    const longest = Math.max(width, height);
    if (longest <= MAX_SIDE_PX) return whole(bitmap);
    const resizeWidth = Math.max(1, Math.round((width * MAX_SIDE_PX) / longest));
    const resizeHeight = Math.max(1, Math.round((height * MAX_SIDE_PX) / longest));
    const small = await createImageBitmap(bitmap, { resizeWidth, resizeHeight, resizeQuality: "high" });
    bitmap.close();
    return { bitmap: small, width, height, file: blob };
  } catch {
    return null;
  }
}

/** A picture whose bitmap has all its pixels. */
export function whole(bitmap: ImageBitmap): Shown {
  return { bitmap, width: bitmap.width, height: bitmap.height, file: null };
}

/** Reads the part of a very large picture that is seen. */
export class Detail {
  private part: Part | null = null;
  private picture: Shown | null = null;
  private timer = 0;

  /** @param arrived called when a part has been read. */
  constructor(private readonly arrived: () => void) {}

  /**
   * The part that was read last; null if there is none, or if the bitmap is fine enough.
   *
   * @param seen what is seen of the picture; where the part does not cover it, another one is read.
   * @param zoom pixels of the screen for each pixel of the picture.
   */
  of(picture: Shown, seen: Area, zoom: number): Part | null {
    if (picture !== this.picture) this.clear();
    this.picture = picture;
    if (!picture.file || zoom * picture.width <= picture.bitmap.width) return null;
    if (!this.part || !covers(this.part.area, seen)) {
      clearTimeout(this.timer);
      this.timer = window.setTimeout(() => void this.read(picture, picture.file!, widened(seen, picture)), STILL_MS);
    }
    return this.part;
  }

  clear(): void {
    clearTimeout(this.timer);
    this.part?.bitmap.close();
    this.part = this.picture = null;
  }

  private async read(picture: Shown, file: Blob, area: Area): Promise<void> {
    const bitmap = await createImageBitmap(file, area.x, area.y, area.width, area.height).catch(() => null);
    if (!bitmap || picture !== this.picture) return bitmap?.close(); // without memory for it, the whole is drawn as before
    this.part?.bitmap.close();
    this.part = { area, bitmap };
    this.arrived();
  }
}

function covers(outer: Area, inner: Area): boolean {
  const holds = (from: number, length: number, start: number, size: number): boolean => from <= start && start + size <= from + length;
  return holds(outer.x, outer.width, inner.x, inner.width) && holds(outer.y, outer.height, inner.y, inner.height);
}

/** An area with a margin, in whole pixels within the picture. */
function widened({ x, y, width, height }: Area, picture: Shown): Area {
  const side = (from: number, length: number, all: number): readonly [number, number] => {
    const start = Math.max(0, Math.floor(from - MARGIN * length));
    return [start, Math.max(1, Math.min(all, Math.ceil(from + (1 + MARGIN) * length)) - start)];
  };
  const [left, wide] = side(x, width, picture.width);
  const [top, high] = side(y, height, picture.height);
  return { x: left, y: top, width: wide, height: high };
}
