/** What needs no browser. */
import { deflateSync } from "node:zlib";

import { afterEach, describe, expect, test, vi } from "vitest";

import { upToDate } from "../packages/a2f-web/src/exif";
import { fillHidden } from "../packages/a2f-web/src/alpha";
import { onWhite } from "../packages/a2f-web/src/encode";
import { FeaturesInFile } from "../packages/a2f-web/src/features";
import { gateOf } from "../packages/a2f-web/src/gates";
import { qualityOfTable } from "../packages/a2f-web/src/jpeg_quality";
import { MAX_PROFILE, carriedOver, factsOf, forJpeg, inJpeg, inWebp, pngChunks } from "../packages/a2f-web/src/metadata";
import { PngWriter, chunk, crc32, inflated, joined } from "../packages/a2f-web/src/png";
import { resizePlane, tapsOf } from "../packages/a2f-web/src/resample";
import { planScales, targetSize } from "../packages/a2f-web/src/sizes";
import { cuts } from "../packages/a2f-web/src/tiled";
import { undecodedOf } from "../packages/a2f-web/src/undecoded";
import { Pace } from "../packages/ui/src/pace";
import { obstacleTo } from "../packages/ui/src/queue";
import { refusalOf, refusalOfError } from "../packages/ui/src/problems";
import { eventsIn, queryOf } from "../packages/ui/src/remote";
import { distinct, formatName, resultName, sentence, suffixOf, timeLeft } from "../packages/ui/src/texts";
import { fitted, held, origin, panned, zoomed } from "../packages/ui/src/view";

describe("sizes", () => {
  test("the side that is not given follows", () => {
    expect(targetSize({ width: 300, height: 200 }, { width: 100 })).toEqual({ width: 100, height: 67 });
    expect(targetSize({ width: 300, height: 200 }, { maxSide: 600 })).toEqual({ width: 600, height: 400 });
    expect(() => targetSize({ width: 3, height: 2 }, { width: 0 })).toThrow("width is 0");
    expect(() => targetSize({ width: 3, height: 2 }, { width: 1, maxSide: 9 })).toThrow("maxSide goes without");
  });

  test("the fewest and smallest passes that suffice", () => {
    const plan = (factor: number): number[] => planScales({ width: 10, height: 10 }, { width: 10 * factor, height: 10 }, [4, 2, 3]);
    expect([1, 1.5, 3, 3.1, 5, 7, 9, 16].map(plan)).toEqual([[], [2], [3], [4], [2, 3], [2, 4], [3, 3], [4, 4]]);
    expect(() => plan(17)).toThrow("at most 16 times");
  });
});

describe("resizing", () => {
  test("weights add up to 1, and a constant stays constant", () => {
    for (const filter of ["bicubic", "lanczos"] as const) {
      for (const [from, to] of [[5, 17], [17, 5], [1, 4], [40, 1]]) {
        for (const weights of tapsOf(from, to, filter).weights) {
          expect(weights.reduce((sum, w) => sum + w, 0)).toBeCloseTo(1, 12);
        }
      }
    }
    const made = resizePlane(new Float32Array(35).fill(0.25), 7, 5, 11, 3, "lanczos");
    expect(Math.max(...made.map((v) => Math.abs(v - 0.25)))).toBeLessThan(1e-7);
  });
});

describe("tiles and gates", () => {
  test("cuts cover a length once", () => {
    expect(cuts(0, 10, 4)).toEqual([[0, 4], [4, 8], [8, 10]]);
    expect(cuts(3, 3, 4)).toEqual([]);
  });

  test("a gate is λ times the sigmoid of Eq. 7", () => {
    const one = Float32Array.of(1);
    const gate = { proj: Float32Array.of(1, 2), weight1: one, bias1: Float32Array.of(-1), weight2: one, bias2: one, lambda: 0.5 };
    const inner = Math.max(1 * 3 + 2 * 4 - 1, 0);
    expect(gateOf(gate, Float64Array.of(3, 4))[0]).toBeCloseTo(0.5 / (1 + Math.exp(-(inner + 1))), 7);
    expect(gateOf(gate, Float64Array.of(-3, -4))[0]).toBeCloseTo(0.5 / (1 + Math.exp(-1)), 7);
  });

  test("hidden pixels take the colour of what is visible", () => {
    const rgb = Float32Array.of(0.2, 0.9, 0.4, 0.9, 0.6, 0.9);
    const made = fillHidden(rgb, Float32Array.of(1, 0), 2, 1);
    [0.2, 0.2, 0.4, 0.4, 0.6, 0.6].forEach((v, k) => expect(made[k]).toBeCloseTo(v, 6));
    expect(fillHidden(rgb, Float32Array.of(1, 1), 2, 1)).toBe(rgb);
  });
});

/** A TIFF block: orientation 6, a pointer to an EXIF folder with a width, and a second directory. */
function exifBlock(): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(80));
  view.setUint16(0, 0x4949);
  view.setUint16(2, 42, true);
  view.setUint32(4, 8, true);
  const entry = (at: number, tag: number, type: number, value: number): void => {
    view.setUint16(at, tag, true);
    view.setUint16(at + 2, type, true);
    view.setUint32(at + 4, 1, true);
    if (type === 3) view.setUint16(at + 8, value, true);
    else view.setUint32(at + 8, value, true);
  };
  view.setUint16(8, 2, true);
  entry(10, 0x0112, 3, 6);
  entry(22, 0x8769, 4, 40);
  view.setUint32(34, 60, true);
  view.setUint16(40, 1, true);
  entry(42, 0xa002, 4, 10);
  return new Uint8Array(view.buffer);
}

describe("metadata", () => {
  test("EXIF is brought up to date in place", () => {
    const made = new DataView(upToDate(exifBlock(), { width: 400, height: 300 }).buffer);
    expect([made.getUint16(18, true), made.getUint32(34, true), made.getUint32(50, true)]).toEqual([1, 0, 400]);
    expect(upToDate(Uint8Array.of(0x49, 0x49, 42), { width: 1, height: 1 })).toHaveLength(3);
  });

  const icc = Uint8Array.from({ length: 70_000 }, (_, k) => k % 251);
  const metadata = { icc, exif: exifBlock() };

  test("a profile and EXIF go into PNG, JPEG and WebP and come out again", async () => {
    const writer = new PngWriter({ width: 2, height: 1 }, { grey: true, alpha: false }, await pngChunks(metadata));
    await writer.row(Uint8ClampedArray.of(1, 1, 1, 255, 9, 9, 9, 255));
    const png = new Uint8Array(await (await writer.end()).arrayBuffer());
    const jpeg = inJpeg(Uint8Array.of(0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xd9), metadata);
    const webp = inWebp(new TextEncoder().encode("RIFF\u000c\0\0\0WEBPVP8 \0\0\0\0"), metadata, { width: 9, height: 5000 }, true);
    for (const file of [png, jpeg, webp]) {
      const found = await factsOf(file as Uint8Array<ArrayBuffer>);
      expect(found.icc).toEqual(icc);
      expect(found.exif).toEqual(metadata.exif);
    }
    const other = inJpeg(jpeg, { icc: icc.slice(9), exif: null }); // canvases write a profile of their own
    expect((await factsOf(other as Uint8Array<ArrayBuffer>)).icc).toEqual(icc.slice(9));
    expect((await factsOf(png)).grey).toBe(true);
    expect([...jpeg.subarray(0, 8)]).toEqual([0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2]);
    expect([...webp.subarray(20, 30)]).toEqual([0x38, 0, 0, 0, 8, 0, 0, 0x87, 0x13, 0]); // flags, width - 1, height - 1
    expect(new DataView(webp.buffer).getUint32(4, true)).toBe(webp.length - 8);
  });

  test("the profile alone is kept on request; damage is no error", async () => {
    expect(carriedOver(metadata, { width: 1, height: 1 }, "profile")).toEqual({ icc, exif: null });
    expect(await factsOf(Uint8Array.of(0xff, 0xd8, 0xff))).toMatchObject({ type: "image/jpeg", icc: null, jpegQuality: null });
    expect(await factsOf(new TextEncoder().encode("no picture at all"))).toMatchObject({ type: null, grey: false });
  });

  const left = ["The colour profile is damaged or too long: left out."];

  /** A grey PNG of one pixel with these chunks before its pixels. */
  function png(...chunks: Uint8Array[]): Uint8Array<ArrayBuffer> {
    const header = chunk("IHDR", Uint8Array.of(0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0));
    return joined(Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10), header, ...chunks, chunk("IEND", new Uint8Array(0)));
  }

  const packed = (data: Uint8Array): Uint8Array => chunk("iCCP", joined(Uint8Array.of(120, 0, 0), deflateSync(data)));

  test("little more of a bomb is unpacked than is allowed", async () => {
    const bomb = new Uint8Array(deflateSync(new Uint8Array(200e6)));
    let seen = 0;
    const Real = DecompressionStream;
    vi.stubGlobal("DecompressionStream", function (format: CompressionFormat) {
      const real = new Real(format);
      const count = new TransformStream<Uint8Array, Uint8Array>({ transform: (part, out) => (out.enqueue(part), void (seen += part.length)) });
      return { writable: real.writable, readable: real.readable.pipeThrough(count) };
    });
    expect(await inflated(bomb, 5e6)).toBeNull();
    expect(seen).toBeGreaterThan(5e6);
    expect(seen).toBeLessThan(9e6);
    vi.unstubAllGlobals();
    expect((await inflated(new Uint8Array(deflateSync(icc)), 70_000))!).toEqual(icc);
    expect(await inflated(new Uint8Array(deflateSync(icc)), 69_999)).toBeNull();
    await expect(inflated(Uint8Array.of(1, 2, 3), 9)).rejects.toThrow();
  });

  test("a profile that is damaged or too long is left out with a note, and the rest is kept", async () => {
    const exif = chunk("eXIf", metadata.exif);
    for (const profile of [packed(new Uint8Array(MAX_PROFILE + 1)), chunk("iCCP", Uint8Array.of(120, 0, 0, 1, 2, 3))]) {
      expect(await factsOf(png(profile, exif))).toMatchObject({ icc: null, exif: metadata.exif, grey: true, notes: left });
    }
    expect(await factsOf(png(packed(icc), packed(icc.slice(1)), exif))).toMatchObject({ icc, exif: metadata.exif, notes: [] });
    expect((await factsOf(png(packed(new Uint8Array(MAX_PROFILE))))).icc).toHaveLength(MAX_PROFILE);
    const webp = inWebp(new TextEncoder().encode("RIFF\u000c\0\0\0WEBPVP8 \0\0\0\0"), { icc: new Uint8Array(MAX_PROFILE + 1), exif: metadata.exif }, { width: 9, height: 9 }, true);
    expect(await factsOf(webp as Uint8Array<ArrayBuffer>)).toMatchObject({ icc: null, exif: metadata.exif, notes: left });
  });

  test("damage inside a packed profile loses the profile alone", async () => {
    const writer = new PngWriter({ width: 1, height: 1 }, { grey: true, alpha: false }, await pngChunks({ icc, exif: exifBlock() }));
    await writer.row(Uint8ClampedArray.of(1, 1, 1, 255));
    const png = new Uint8Array(await (await writer.end()).arrayBuffer());
    const at = png.findIndex((_, k) => new TextDecoder().decode(png.subarray(k, k + 4)) === "iCCP");
    png.fill(0xaa, at + 20, at + 60);
    const found = await factsOf(png);
    expect(found.icc).toBeNull();
    expect(found.exif).toEqual(exifBlock());
  });

  /** A JPEG without pixels; each part of a profile has a number, a count and its bytes. */
  function jpeg(parts: readonly (readonly number[])[]): Uint8Array<ArrayBuffer> {
    const segments = parts.map((part) => {
      const data = joined(new TextEncoder().encode("ICC_PROFILE\0"), Uint8Array.from(part));
      return joined(Uint8Array.of(0xff, 0xe2, 0, data.length + 2), data);
    });
    return joined(Uint8Array.of(0xff, 0xd8), ...segments, Uint8Array.of(0xff, 0xd9));
  }

  test("the parts of a JPEG's profile are put in order, and must all be there", async () => {
    expect((await factsOf(jpeg([[2, 2, 7], [1, 2, 5, 6]]))).icc).toEqual(Uint8Array.of(5, 6, 7));
    const many = Array.from({ length: 255 }, (_, k) => [k + 1, 255, k]);
    expect((await factsOf(jpeg(many))).icc).toEqual(Uint8Array.from({ length: 255 }, (_, k) => k));
    const wrapped = Array.from({ length: 300 }, (_, k) => [(k + 1) & 255, 300 & 255, k & 255]);
    for (const parts of [[[1, 2, 5]], [[1, 2, 5], [1, 2, 6]], [[1, 3, 5], [2, 3, 6]], [[0, 1, 5]], wrapped]) {
      expect(await factsOf(jpeg(parts)), String(parts.length)).toMatchObject({ icc: null, notes: left });
    }
    expect(await factsOf(jpeg([]))).toMatchObject({ icc: null, notes: [] });
  });

  test("the longest profile and EXIF that a JPEG holds come out again; longer EXIF is refused or left out", async () => {
    const longest = { icc: new Uint8Array(MAX_PROFILE).fill(7), exif: new Uint8Array(65_527).fill(9) };
    expect(forJpeg(longest, false)).toEqual({ metadata: longest, notes: [] });
    const file = inJpeg(Uint8Array.of(0xff, 0xd8, 0xff, 0xd9), longest) as Uint8Array<ArrayBuffer>;
    const back = await factsOf(file);
    expect(Buffer.compare(back.icc!, longest.icc) + Buffer.compare(back.exif!, longest.exif)).toBe(0);
    const longer = { icc, exif: new Uint8Array(65_528) };
    expect(forJpeg(longer, true)).toEqual({ metadata: { icc, exif: null }, notes: ["JPEG cannot hold 65,528 bytes of EXIF: left out."] });
    const loss = { code: "encode", options: ["force=true"], loses: ["metadata"] };
    expect(() => forJpeg(longer, false)).toThrow(expect.objectContaining(loss) as Error);
  });

  test("white is laid below transparent pixels", () => {
    const given = Uint8ClampedArray.of(255, 0, 200, 0, 10, 20, 30, 255, 100, 0, 255, 128, 1, 2, 3, 1);
    expect([...onWhite(given)]).toEqual([255, 255, 255, 255, 10, 20, 30, 255, 177, 127, 255, 255, 254, 254, 254, 255]);
  });

  test("the quality of a JPEG shows in its table", () => {
    expect(qualityOfTable(new Array<number>(64).fill(1))).toBe(100);
    const table50 = [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62];
    const rest = [18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99];
    expect(qualityOfTable([...table50, ...rest])).toBe(50);
  });

  test("the checksum is that of PNG", () => {
    expect(crc32(new TextEncoder().encode("IEND"))).toBe(0xae426082);
  });
});

describe("what browsers do not decode", () => {
  const bytes = (...parts: (string | readonly number[])[]): Uint8Array<ArrayBuffer> =>
    joined(...parts.map((part) => (typeof part === "string" ? Uint8Array.from(part, (letter) => letter.charCodeAt(0)) : Uint8Array.from(part))));
  const deep = "The picture has more than 8 bits a channel; the result has 8.";
  const animated = "The picture is animated; the result has its first frame only.";

  const png = (bits: number, ...chunks: Uint8Array[]): Uint8Array<ArrayBuffer> =>
    joined(bytes("\x89PNG\r\n\x1a\n"), chunk("IHDR", Uint8Array.of(0, 0, 0, 1, 0, 0, 0, 1, bits, 0, 0, 0, 0)), ...chunks);
  const frames = (count: number): Uint8Array => chunk("acTL", Uint8Array.of(0, 0, 0, count, 0, 0, 0, 0));
  const pixels = chunk("IDAT", new Uint8Array(0));

  const gif = ["GIF89a", [1, 0, 1, 0, 0x80, 0, 0, 0, 0, 0, 255, 255, 255]] as const; // two colours
  const extension = [0x21, 0xfe, 2, 0x2c, 0x2c, 0]; // a comment
  const frame = [0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 1, 0x44, 0];
  const ownColours = [...frame.slice(0, 9), 0x80, 0, 0, 0, 9, 9, 9, ...frame.slice(10)];

  const vp8x = (flags: number): Uint8Array<ArrayBuffer> => bytes("RIFF....WEBPVP8X", [10, 0, 0, 0, flags, 0, 0, 0]);
  const avif = (brand: string, flags: number): Uint8Array<ArrayBuffer> => bytes([0, 0, 0, 16], `ftyp${brand}`, [0, 0, 0, 0], "av1C", [0x81, 0, flags, 0]);

  test.each([
    ["PNG", png(8, pixels), []],
    ["PNG of 16 bits", png(16, pixels), [deep]],
    ["PNG with frames", png(8, frames(2), pixels), [animated]],
    ["PNG with one frame", png(8, frames(1), pixels), []],
    ["PNG that ends early", png(8).subarray(0, 20), []],
    ["GIF", bytes(...gif, extension, frame, [0x3b]), []],
    ["GIF with frames", bytes(...gif, extension, frame, extension, frame, [0x3b]), [animated]],
    ["GIF with frames of own colours", bytes(...gif, ownColours, ownColours, [0x3b]), [animated]],
    ["GIF that ends early", bytes(...gif, extension, frame.slice(0, 11)), []],
    ["GIF without end", bytes(...gif, frame), []],
    ["WebP", vp8x(0x10), []],
    ["WebP with frames", vp8x(0x12), [animated]],
    ["AVIF", avif("avif", 0x0c), []],
    ["AVIF of 10 bits", avif("avif", 0x4c), [deep]],
    ["AVIF with frames", avif("avis", 0x4c), [deep, animated]],
    ["no picture", bytes("hello"), []],
  ])("%s", async (_, file, notes) => {
    expect(undecodedOf(file)).toEqual(notes);
    expect((await factsOf(file)).notes).toEqual(notes);
  });
});

describe("features in a file", () => {
  afterEach(() => vi.unstubAllGlobals());

  function storage(failing: "createSyncAccessHandle" | "truncate" | "none"): { open: Set<string>; files: Set<string> } {
    const open = new Set<string>();
    const files = new Set<string>();
    const handle = (name: string) => ({
      truncate: (): void => { if (failing === "truncate") throw new DOMException("full", "QuotaExceededError"); },
      close: (): void => void open.delete(name),
    });
    const folder = {
      getFileHandle: async (name: string) => {
        files.add(name);
        return {
          createSyncAccessHandle: async () => {
            if (failing === "createSyncAccessHandle") throw new DOMException("locked", "NoModificationAllowedError");
            open.add(name);
            return handle(name);
          },
        };
      },
      removeEntry: async (name: string) => {
        if (open.has(name)) throw new DOMException("in use", "NoModificationAllowedError");
        files.delete(name);
      },
    };
    vi.stubGlobal("navigator", { storage: { getDirectory: async () => folder } });
    return { open, files };
  }

  test("a file that cannot be had leaves nothing open and nothing behind", async () => {
    for (const failing of ["createSyncAccessHandle", "truncate"] as const) {
      const { open, files } = storage(failing);
      await expect(FeaturesInFile.open(2, 3, 4)).rejects.toMatchObject({ code: "memory" });
      expect([open.size, files.size], failing).toEqual([0, 0]);
    }
    const { open, files } = storage("none");
    const features = await FeaturesInFile.open(2, 3, 4);
    expect([open.size, files.size]).toEqual([1, 1]);
    await features.close();
    expect([open.size, files.size]).toEqual([0, 0]);
  });
});

describe("the stage", () => {
  const picture = { width: 1000, height: 500 };
  const stage = { width: 500, height: 500 };

  test("a zoom keeps the point under the pointer", () => {
    const at = { x: 330, y: 260 };
    const before = fitted(picture, stage);
    const after = zoomed(before, 8, at, picture, stage);
    const shown = (view: typeof before): number[] => {
      const from = origin(view, picture, stage);
      return [(at.x - from.x) / view.zoom, (at.y - from.y) / view.zoom];
    };
    shown(before).forEach((v, k) => expect(shown(after)[k]).toBeCloseTo(v, 6));
  });

  test("no gap shows at an edge, and a zoom has bounds", () => {
    const near = { x: 0.5, y: 0.5, zoom: 2 };
    expect(panned(near, { x: 1e6, y: -1e6 }, picture, stage)).toEqual({ x: 0.125, y: 0.75, zoom: 2 });
    expect(held({ x: 0.9, y: 0.9, zoom: 0.1 }, picture, stage)).toEqual({ x: 0.5, y: 0.5, zoom: 0.1 });
    expect(zoomed(near, 1e9, { x: 0, y: 0 }, picture, stage).zoom).toBe(64);
    expect(zoomed(near, 1e-9, { x: 0, y: 0 }, picture, stage).zoom).toBe(0.5);
  });
});

describe("words", () => {
  test("time left, names of results", () => {
    expect([1, 12.2, 31, 130, 9000].map(timeLeft)).toEqual(["a few seconds left", "about 13 s left", "about 35 s left", "about 2 min left", "about 2.5 h left"]);
    expect(["image/x-portable-anymap", "webp", "tiff"].map(formatName)).toEqual(["PPM", "WebP", "TIFF"]);
    expect(["a.tif", "no suffix", "a.b.HEIC"].map(suffixOf)).toEqual(["TIF", "", "HEIC"]);
    expect(["bmp has no place for EXIF: left out", "Done. "].map(sentence)).toEqual(["BMP has no place for EXIF: left out.", "Done."]);
    expect(resultName("a.b.tif", "x4", "image/jpeg")).toBe("a.b_x4.jpg");
    expect(distinct(["a.png", "A.png", "a.png"])).toEqual(["a.png", "A (2).png", "a (3).png"]);
  });

  test("no time is told before it is known; then it is smoothed", () => {
    let now = 0;
    const watch = new Pace(() => now).watch("x4", 1000);
    const left = (seconds: number, share: number): number | null => {
      now = 1000 * seconds;
      return watch.left(share);
    };
    expect([left(0, 0), left(1, 0.1), left(1.9, 0.2), left(3, 0.14)]).toEqual([null, null, null, null]);
    expect(left(4, 0.2)).toBeCloseTo(16, 9);
    const slower = left(5, 0.2)!; // as measured, it would be 20
    expect(slower).toBeGreaterThan(15);
    expect(slower).toBeLessThan(17);
    expect(left(900, 1)).toBe(0);
  });

  test("the speed of earlier pictures tells the time from the start, for the same kind of work alone", () => {
    let now = 0;
    const pace = new Pace(() => now);
    const first = pace.watch("x4", 1000);
    first.left(0);
    now = 10_000;
    first.done();
    expect(pace.watch("x4", 3000).left(0)).toBeCloseTo(30, 9);
    expect(pace.watch("x2", 3000).left(0)).toBeNull();
    expect(pace.watch("x4", null).left(0)).toBeNull();
    const tiny = pace.watch("x4", 1);
    tiny.left(0);
    now += 500;
    tiny.done(); // too short to tell
    expect(pace.watch("x4", 3000).left(0)).toBeCloseTo(30, 9);
  });
});

describe("files that are not tried", () => {
  test("empty ones, and those with too many bytes or pixels", () => {
    const limits = { maxBytes: 1000, maxGiven: 50e6, atOnce: 1 };
    const shown = (width: number, height: number) => ({ bitmap: null as unknown as ImageBitmap, width, height, file: null });
    expect(obstacleTo(new Blob([]), null, limits)).toBe("The file is empty.");
    expect(obstacleTo(new Blob(["x".repeat(1001)]), null, limits)).toBe("The file has 1\u00a0kB; the server takes 1\u00a0kB at most.");
    expect(obstacleTo(new Blob(["x"]), shown(12000, 9000), limits)).toBe("The picture has 108 megapixels; the server takes 50 megapixels at most.");
    expect(obstacleTo(new Blob(["x"]), shown(10000, 5000), limits)).toBeNull();
    expect(obstacleTo(new Blob(["x"]), null, limits)).toBeNull();
    expect(obstacleTo(new Blob(["x"]), shown(12000, 9000), { maxBytes: null, maxGiven: null, atOnce: 1 })).toBeNull();
  });
});

describe("words for what went wrong", () => {
  const problem = (name: string, detail: string, ...options: string[]) => refusalOf({ type: `/problems/${name}`, title: "Title", detail, options });
  const lossy = (fact: string, ...loses: string[]) =>
    refusalOf({ type: "/problems/format-loses", title: "Title", detail: `${fact}: choose png, or accept the loss with force=true`, options: ["force=true"], loses });

  test("what a format loses is told by the server's member, not read out of its words", () => {
    const alpha = lossy("jpeg holds no alpha", "transparency");
    expect([alpha.message, alpha.remedies]).toEqual(["JPEG holds no alpha.", ["as-png", "white"]]);
    expect(lossy("jpeg cannot hold 16 bits a channel", "bit-depth").remedies).toEqual(["as-png", "loss"]);
    const both = lossy("jpeg holds no alpha", "transparency", "bit-depth", "a-later-one");
    expect([both.message, both.remedies]).toEqual(["JPEG holds no alpha. Also lost: 16 bits a channel, a-later-one.", ["as-png", "loss"]]);
  });

  test("options that help become buttons", () => {
    const cut = problem("damaged-picture", "the picture is truncated or damaged: enlarge what there is with allow_truncated=true", "allow_truncated=true");
    expect([cut.remedies, cut.isFinal]).toEqual([["truncated"], true]);
    const gone = problem("damaged-picture", "the picture is truncated or damaged; too much of it is missing");
    expect([gone.remedies, gone.isFinal]).toEqual([[], true]);
    const large = "400 x 400 is 400.0 times 1 x 1: at most 16 times is possible";
    expect(problem("bad-option", large).message).toBe(`${large}.`);
    expect(problem("bad-option", "there are no weights for model=sd with scale=9: choose").message).not.toContain("=");
    expect(problem("too-many-pixels", "the picture has 60,000,000 pixels (10000 x 6000); at most 50,000,000 are allowed").message).toContain("60,000,000 pixels (10000 x 6000)");
    expect(problem("a-later-one", "x").message).toBe("Title.");
  });

  test("errors of the package", () => {
    const alpha = refusalOfError({ code: "encode", message: "JPEG cannot hold transparency: choose PNG or WebP", options: ["force=true"], loses: ["transparency"] });
    expect(alpha.message).toBe("JPEG cannot hold transparency.");
    expect(alpha.remedies).toEqual(["as-png", "white"]);
    expect(refusalOfError({ code: "picture", message: "" }).isFinal).toBe(true);
    expect(refusalOfError(new Error("odd")).remedies).toEqual(["again"]);
  });
});

describe("the server's interface", () => {
  const wish = { scale: null, width: null, height: null, maxSide: null, model: "sd", format: null, quality: 92, keepMetadata: true };

  const nothing = { loss: false, truncated: false };

  test("a wish as a query", () => {
    expect(String(queryOf({ ...wish, scale: 2 }, nothing))).toBe("model=sd&scale=2");
    expect(String(queryOf({ ...wish, maxSide: 9, format: "png" }, nothing))).toBe("model=sd&max_side=9&format=png");
    expect(String(queryOf({ ...wish, height: 9, format: "jpeg", keepMetadata: false }, nothing))).toBe("model=sd&height=9&format=jpeg&quality=92&strip=true");
    expect(String(queryOf({ ...wish, scale: 2 }, { loss: true, truncated: true }))).toBe("model=sd&scale=2&force=true&allow_truncated=true");
  });

  test("events that come in pieces", async () => {
    const pieces = [": hello\n\n", "event: status\r\nda", "ta: {\"a\":\"ä", "\"}\r\n\r\ndata: 2\n\n", "data: cut off"];
    const stream = new Blob(pieces).stream() as ReadableStream<Uint8Array<ArrayBuffer>>;
    const found: string[] = [];
    for await (const data of eventsIn(stream)) found.push(data);
    expect(found).toEqual(['{"a":"ä"}', "2"]);
  });
});
