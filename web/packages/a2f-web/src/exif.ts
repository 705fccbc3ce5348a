/** An EXIF block changed in place, so that maker notes, which point into it, stay whole. */
import type { Size } from "./sizes";

const ORIENTATION = 0x0112;
const EXIF_FOLDER = 0x8769;
const WIDTH = 0xa002;
const HEIGHT = 0xa003;
const SHORT = 3;

/** A copy of a TIFF block for an upright picture of this size, without the thumbnail of the old one. */
export function upToDate(block: Uint8Array<ArrayBuffer>, size: Size): Uint8Array<ArrayBuffer> {
  const out = block.slice();
  const view = new DataView(out.buffer);
  const little = out[0] === 0x49;
  const u16 = (at: number): number => view.getUint16(at, little);
  const u32 = (at: number): number => view.getUint32(at, little);
  const set = (at: number, value: number): void => {
    if (u16(at + 2) === SHORT) view.setUint16(at + 8, Math.min(value, 65535), little);
    else view.setUint32(at + 8, value, little);
  };
  /** Where the entry of a tag lies in a directory, or -1. */
  const entry = (directory: number, tag: number): number => {
    for (let k = 0, n = u16(directory); k < n; k++) if (u16(directory + 2 + 12 * k) === tag) return directory + 2 + 12 * k;
    return -1;
  };
  try {
    const main = u32(4);
    const orientation = entry(main, ORIENTATION);
    if (orientation >= 0) set(orientation, 1);
    view.setUint32(main + 2 + 12 * u16(main), 0, little); // the second directory is that of the thumbnail
    const pointer = entry(main, EXIF_FOLDER);
    if (pointer >= 0) {
      const folder = u32(pointer + 8);
      for (const [tag, value] of [[WIDTH, size.width], [HEIGHT, size.height]] as const) {
        const at = entry(folder, tag);
        if (at >= 0) set(at, value);
      }
    }
  } catch {
    // A block that is cut off: what could be read is up to date.
  }
  return out;
}
