/**
 * What a file says beside its pixels, and writing that into another file.
 *
 * Kept are the colour profile (ICC) and the EXIF block, in JPEG, PNG and WebP. Everything else is dropped.
 */
import { UpscaleError } from "./errors";
import { upToDate } from "./exif";
import { fineness } from "./jpeg_quality";
import { chunk, deflated, inflated, joined } from "./png";
import type { Size } from "./sizes";
import { undecodedOf } from "./undecoded";

type Bytes = Uint8Array<ArrayBuffer>;

/** What is carried over. */
export interface Metadata {
  readonly icc: Bytes | null;
  /** A TIFF block, without the name that JPEG puts before it. */
  readonly exif: Bytes | null;
}

/** A file's metadata, and what its header tells about its pixels. */
export interface FileFacts extends Metadata {
  /** By its first bytes; null for all other formats. */
  readonly type: "image/jpeg" | "image/png" | "image/webp" | null;
  readonly grey: boolean;
  /** libjpeg's quality, 1 to 100; null for other formats. */
  readonly jpegQuality: number | null;
  /** What is left out, a sentence each. */
  readonly notes: readonly string[];
}

/** Of what has no header that is read. */
export const NO_FACTS: FileFacts = { type: null, icc: null, exif: null, grey: false, jpegQuality: null, notes: [] };
const EXIF_NAME = "Exif\0\0";
const ICC_NAME = "ICC_PROFILE\0";
/** Of a JPEG segment: 65,535 less its length and the name and numbers of a part of a profile. */
const ICC_PART = 65535 - 2 - 14;
/** Bytes of a profile: what the 255 parts of a JPEG hold. A longer one is left out, whatever the format. */
export const MAX_PROFILE = 255 * ICC_PART;
/** Bytes of EXIF in a JPEG. */
const MAX_JPEG_EXIF = 65535 - 2 - EXIF_NAME.length;
const PROFILE_NOTE = "The colour profile is damaged or too long: left out.";

/** Read what a file says; damage in it is passed over, since decoding judges the file. */
export async function factsOf(file: Bytes): Promise<FileFacts> {
  const facts = await readFacts(file);
  return { ...facts, notes: [...undecodedOf(file), ...facts.notes] };
}

async function readFacts(file: Bytes): Promise<FileFacts> {
  const type = typeOf(file);
  try {
    if (type === "image/jpeg") return ofJpeg(file);
    if (type === "image/png") return await ofPng(file);
    if (type === "image/webp") return ofWebp(file);
  } catch {
    return { ...NO_FACTS, type };
  }
  return NO_FACTS;
}

function typeOf(file: Bytes): FileFacts["type"] {
  if (file[0] === 0xff && file[1] === 0xd8) return "image/jpeg";
  if (textAt(file, 1, 3) === "PNG") return "image/png";
  return textAt(file, 0, 4) === "RIFF" && textAt(file, 8, 4) === "WEBP" ? "image/webp" : null;
}

/** Whether a JPEG can hold all of the metadata. */
export function fitsJpeg({ exif }: Metadata): boolean {
  return (exif?.length ?? 0) <= MAX_JPEG_EXIF;
}

/**
 * The metadata for a JPEG, and a note if something of it is left out.
 *
 * @param force leave out EXIF that is too long.
 * @throws UpscaleError if it is too long otherwise.
 */
export function forJpeg(given: Metadata, force: boolean): { metadata: Metadata; notes: readonly string[] } {
  if (fitsJpeg(given)) return { metadata: given, notes: [] };
  const fact = `JPEG cannot hold ${(given.exif?.length ?? 0).toLocaleString("en")} bytes of EXIF`;
  if (force) return { metadata: { ...given, exif: null }, notes: [`${fact}: left out.`] };
  throw new UpscaleError("encode", `${fact}: choose PNG or WebP, or leave it out with force: true`, ["force=true"], ["metadata"]);
}

/** The metadata for a result of this size: upright, without a thumbnail of the old picture. */
export function carriedOver(facts: Metadata, size: Size, keep: "all" | "profile"): Metadata {
  return { icc: facts.icc, exif: keep === "all" && facts.exif ? upToDate(facts.exif, size) : null };
}

/** Chunks for a PNG, before its pixels. */
export async function pngChunks({ icc, exif }: Metadata): Promise<Bytes[]> {
  const chunks: Bytes[] = [];
  if (icc) chunks.push(chunk("iCCP", joined(latin("icc\0\0"), await deflated(icc))));
  if (exif) chunks.push(chunk("eXIf", exif));
  return chunks;
}

/** A JPEG with metadata that `forJpeg` took, behind its JFIF segment; a profile that the browser wrote gives way. */
export function inJpeg(given: Bytes, { icc, exif }: Metadata): Bytes {
  const file = icc ? withoutProfile(given) : given;
  const segments: Bytes[] = [];
  if (exif) segments.push(segment(0xe1, joined(latin(EXIF_NAME), exif)));
  const parts = icc ? Math.ceil(icc.length / ICC_PART) : 0;
  for (let k = 0; icc && k < parts; k++) {
    const part = icc.subarray(k * ICC_PART, (k + 1) * ICC_PART);
    segments.push(segment(0xe2, joined(latin(ICC_NAME), Uint8Array.of(k + 1, parts), part)));
  }
  const jfif = file[2] === 0xff && file[3] === 0xe0 ? 4 + u16(file, 4) : 2;
  return joined(file.subarray(0, jfif), ...segments, file.subarray(jfif));
}

function withoutProfile(file: Bytes): Bytes {
  const kept: Bytes[] = [file.subarray(0, 2)];
  let at = 2;
  while (at + 4 <= file.length && file[at] === 0xff && file[at + 1] !== 0xda && file[at + 1] !== 0xd9) {
    const end = at + 2 + u16(file, at + 2);
    if (!(file[at + 1] === 0xe2 && textAt(file, at + 4, 12) === ICC_NAME)) kept.push(file.subarray(at, end));
    at = end;
  }
  return joined(...kept, file.subarray(at));
}

/** A WebP with metadata: the extended format, whose first chunk says what there is. */
export function inWebp(file: Bytes, { icc, exif }: Metadata, size: Size, alpha: boolean): Bytes {
  if (!icc && !exif) return file;
  const kept = riffChunks(file).filter(({ name }) => !["VP8X", "ICCP", "EXIF"].includes(name));
  const head = new Uint8Array(10);
  const view = new DataView(head.buffer);
  head[0] = (icc ? 0x20 : 0) | (alpha ? 0x10 : 0) | (exif ? 0x08 : 0);
  view.setUint32(4, size.width - 1, true); // 24 bits; the next number overwrites the highest byte, which is 0
  view.setUint16(7, (size.height - 1) & 0xffff, true);
  const parts = [riffChunk("VP8X", head)];
  if (icc) parts.push(riffChunk("ICCP", icc));
  for (const { name, data } of kept) parts.push(riffChunk(name, data));
  if (exif) parts.push(riffChunk("EXIF", exif));
  const body = joined(latin("WEBP"), ...parts);
  return riffChunk("RIFF", body);
}

function ofJpeg(file: Bytes): FileFacts {
  const profile: Bytes[] = [];
  const tables = new Map<number, number>();
  let exif: Bytes | null = null;
  let components = 3;
  let first = 0;
  for (let at = 2; at + 4 <= file.length; ) {
    if (file[at] !== 0xff) break;
    const marker = file[at + 1];
    if (marker === 0xff || marker === 1 || (marker >= 0xd0 && marker <= 0xd7)) {
      at += marker === 0xff ? 1 : 2;
      continue;
    }
    if (marker === 0xda || marker === 0xd9) break;
    const data = file.subarray(at + 4, at + 2 + u16(file, at + 2));
    if (marker === 0xe1 && textAt(data, 0, 6) === EXIF_NAME) exif ??= data.slice(6);
    if (marker === 0xe2 && textAt(data, 0, 12) === ICC_NAME) profile.push(data);
    if (marker === 0xdb) for (const [number, value] of fineness(data)) tables.set(number, value);
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      components = data[5];
      first = data[8];
    }
    at += 2 + u16(file, at + 2);
  }
  const jpegQuality = tables.get(first) ?? null;
  return { ...NO_FACTS, type: "image/jpeg", exif, grey: components === 1, jpegQuality, ...found(profileOf(profile)) };
}

/** The profile of its parts, each with its number from 1 and their count: all of them, once; empty if they are not. */
function profileOf(parts: readonly Bytes[]): Bytes | null {
  if (parts.length === 0) return null;
  const byNumber = new Map(parts.map((part) => [part[12], part]));
  const numbers = parts.map((_, k) => k + 1);
  const isWhole = numbers.every((number) => byNumber.get(number)?.[13] === parts.length);
  return isWhole ? joined(...numbers.map((number) => byNumber.get(number)!.subarray(14))) : new Uint8Array(0);
}

/** A profile as the facts have it: an empty or very long one is left out, with a note. */
function found(icc: Bytes | null): Pick<FileFacts, "icc" | "notes"> {
  const isKept = icc === null || (icc.length > 0 && icc.length <= MAX_PROFILE);
  return isKept ? { icc, notes: [] } : { icc: null, notes: [PROFILE_NOTE] };
}

async function ofPng(file: Bytes): Promise<FileFacts> {
  let icc: Bytes | null = null;
  let exif: Bytes | null = null;
  const grey = (file[25] & 3) === 0;
  for (let at = 8; at + 12 <= file.length; ) {
    const length = u32(file, at);
    const name = textAt(file, at + 4, 4);
    const data = file.subarray(at + 8, at + 8 + length);
    if (name === "iCCP") icc ??= await unpackedProfile(data); // a second one is an error, and not read
    if (name === "eXIf") exif = data.slice();
    if (name === "IEND") break;
    at += 12 + length;
  }
  return { ...NO_FACTS, type: "image/png", exif, grey, ...found(icc) };
}

/** The profile of an iCCP chunk: a name, a zero, the method, compressed bytes; empty if damaged or too long. */
async function unpackedProfile(data: Bytes): Promise<Bytes> {
  const nothing = new Uint8Array(0);
  return (await inflated(data.subarray(data.indexOf(0) + 2), MAX_PROFILE).catch(() => nothing)) ?? nothing;
}

function ofWebp(file: Bytes): FileFacts {
  const chunks = riffChunks(file);
  const find = (name: string): Bytes | null => chunks.find((c) => c.name === name)?.data.slice() ?? null;
  const exif = find("EXIF");
  const named = exif !== null && textAt(exif, 0, 6) === EXIF_NAME; // as some writers put it
  const own = named ? exif.slice(6) : exif;
  return { ...NO_FACTS, type: "image/webp", exif: own, ...found(find("ICCP")) };
}

function riffChunks(file: Bytes): { name: string; data: Bytes }[] {
  const chunks = [];
  for (let at = 12; at + 8 <= file.length; ) {
    const length = new DataView(file.buffer, file.byteOffset).getUint32(at + 4, true);
    chunks.push({ name: textAt(file, at, 4), data: file.subarray(at + 8, at + 8 + length) });
    at += 8 + length + (length & 1);
  }
  return chunks;
}

function riffChunk(name: string, data: Bytes): Bytes {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, data.length, true);
  return joined(latin(name), length, data, new Uint8Array(data.length & 1));
}

function segment(marker: number, data: Bytes): Bytes {
  const head = Uint8Array.of(0xff, marker, (data.length + 2) >> 8, (data.length + 2) & 255);
  return joined(head, data);
}

function latin(text: string): Bytes {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

function textAt(data: Uint8Array, at: number, length: number): string {
  return String.fromCharCode(...data.subarray(at, at + length));
}

function u16(data: Uint8Array, at: number): number {
  return (data[at] << 8) | data[at + 1];
}

function u32(data: Uint8Array, at: number): number {
  return u16(data, at) * 65536 + u16(data, at + 2);
}
