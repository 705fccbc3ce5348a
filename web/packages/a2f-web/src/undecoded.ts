/** What browsers do not decode of a file: the frames after the first, and more than 8 bits a channel. */

type Bytes = Uint8Array<ArrayBuffer>;

/** Bytes in which the boxes of an AVIF lie that say how its pixels are stored. */
const AVIF_HEAD = 4096;

/** A sentence for each; bytes that are missing are passed over. */
export function undecodedOf(file: Bytes): string[] {
  const notes = [];
  if (isDeep(file)) notes.push("The picture has more than 8 bits a channel; the result has 8.");
  if (isAnimated(file)) notes.push("The picture is animated; the result has its first frame only.");
  return notes;
}

function isDeep(file: Bytes): boolean {
  if (isPng(file)) return file[24] === 16;
  if (textAt(file, 4, 7) !== "ftypavi") return false;
  const head = textAt(file, 0, AVIF_HEAD);
  for (let at = head.indexOf("av1C"); at >= 0; at = head.indexOf("av1C", at + 1)) {
    if ((file[at + 6] & 0x40) !== 0) return true; // high_bitdepth: 10 or 12 bits
  }
  return false;
}

function isAnimated(file: Bytes): boolean {
  if (textAt(file, 0, 3) === "GIF") return hasTwoFrames(file);
  if (isPng(file)) return hasAnimationChunk(file);
  if (textAt(file, 8, 8) === "WEBPVP8X") return (file[20] & 0x02) !== 0;
  return textAt(file, 4, 8) === "ftypavis";
}

/** Of a PNG: acTL comes before the pixels, and has the number of frames. */
function hasAnimationChunk(file: Bytes): boolean {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  for (let at = 8; at + 12 <= file.length; at += 12 + view.getUint32(at)) {
    const name = textAt(file, at + 4, 4);
    if (name === "IDAT" || name === "IEND") return false;
    if (name === "acTL") return view.getUint32(at + 8) > 1;
  }
  return false;
}

/** Of a GIF: its blocks are walked until the second image. */
function hasTwoFrames(file: Bytes): boolean {
  let frames = 0;
  let at = 13 + tableBytes(file[10]);
  while (at < file.length) {
    if (file[at] === 0x2c) {
      if (++frames === 2) return true;
      at += 10 + tableBytes(file[at + 9]) + 1; // the descriptor, its colours, the size of a code
    } else if (file[at] === 0x21) at += 2;
    else return false;
    while (file[at] > 0) at += 1 + file[at]; // parts, each with its length
    at += 1;
  }
  return false;
}

/** Bytes of a table of colours, by the flags that announce it. */
function tableBytes(flags: number): number {
  return (flags & 0x80) === 0 ? 0 : 3 << ((flags & 7) + 1);
}

function isPng(file: Bytes): boolean {
  return textAt(file, 1, 3) === "PNG";
}

function textAt(file: Bytes, at: number, length: number): string {
  return String.fromCharCode(...file.subarray(at, at + length));
}
