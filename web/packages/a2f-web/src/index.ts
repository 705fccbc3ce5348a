/**
 * Enlarge pictures in the browser with the A²F networks. Nothing is sent anywhere.
 *
 * Pictures of any size run in tiles whose pixels are those of the whole image: the networks' gates pool over the whole
 * image, and every tile gets them.
 */
import type { Format } from "./encode";
import { UpscaleError } from "./errors";
import { ENGINES, MODELS } from "./files";
import type { Device, EngineUrls, FromWorker, ModelEntry, Request, RunInfo, Source, ToWorker } from "./protocol";

export { type Loss, UpscaleError, type UpscaleErrorCode } from "./errors";
export { planScales, targetSize, type Size, type SizeWish } from "./sizes";
export type { Device, Format, ModelEntry, RunInfo };

/** All of it is optional. */
export interface UpscaleOptions {
  /** 1 to 16; 4 by default, or the scale of the model if that is a URL. Sizes between those of networks are resized to. */
  readonly scale?: number;
  /** Exact size of the result, in pixels, instead of a scale: both sides, one of them, or the longer one. */
  readonly size?: { readonly width?: number; readonly height?: number; readonly maxSide?: number };
  /**
   * "auto" (default: "sd", and "sd-robust" for strongly compressed JPEG files), a name of `models()`, or the URL of a
   * model file that `tools/export_web.py` of a2f wrote.
   */
  readonly model?: string | URL;
  /** Of the file that a Blob or an image gives. "auto" (default) is that of a JPEG, PNG or WebP, otherwise PNG. */
  readonly format?: Format | "auto";
  /** Of JPEG and WebP, 1 to 100; 92 by default. */
  readonly quality?: number;
  /** "all" (default) keeps the colour profile and EXIF of JPEG, PNG and WebP files, "profile" the colour profile alone. */
  readonly metadata?: "all" | "profile";
  /** Accept that JPEG cannot hold all: transparent parts become white, EXIF that is too long is left out. */
  readonly force?: boolean;
  /** Ends the work; the promise is then rejected with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Called with the share of the work that is done, in [0, 1]. */
  readonly onProgress?: (share: number) => void;
  /** Called once the work begins: what runs where. */
  readonly onStart?: (info: RunInfo) => void;
  /** "auto" (default) takes WebGPU where there is one, otherwise WebAssembly. */
  readonly device?: Device;
  /** Side of a tile in pixels of the given picture; 0 (default) chooses. The result is the same. */
  readonly tile?: number;
  /** Bytes of features that may lie in memory; 1e9 by default. More lie in a temporary file of the browser's own. */
  readonly maxMemory?: number;
}

interface Waiting {
  readonly resolve: (made: Blob | ImageData) => void;
  readonly reject: (why: unknown) => void;
  readonly options: UpscaleOptions;
  readonly colorSpace: PredefinedColorSpace;
}

const waiting = new Map<number, Waiting>();
let worker: Worker | null = null;
let nextId = 1;
let places: { readonly models: readonly ModelEntry[]; readonly engines: EngineUrls; readonly worker: () => Worker } = {
  models: MODELS,
  engines: ENGINES,
  worker: () => new Worker(new URL("./worker.js", import.meta.url), { type: "module" }),
};

/** The models that are shipped. */
export function models(): readonly ModelEntry[] {
  return places.models;
}

/**
 * Say where the files of this package are served, where a bundler does not find them by itself.
 *
 * @param base URL of the folder that holds what `a2f-web/dist` holds; it ends with a slash.
 */
export function configure({ base }: { base: string }): void {
  const root = new URL(base, document.baseURI);
  const own = new URL("./", import.meta.url).href;
  const moved = (url: string): string => new URL(url.startsWith(own) ? url.slice(own.length) : url, root).href;
  const engine = (of: EngineUrls["wasm"]): EngineUrls["wasm"] => ({ mjs: moved(of.mjs), wasm: moved(of.wasm) });
  close();
  places = {
    models: MODELS.map((entry) => ({ ...entry, url: moved(entry.url) })),
    engines: { wasm: engine(ENGINES.wasm), webgpu: engine(ENGINES.webgpu) },
    worker: () => new Worker(new URL("worker.js", root), { type: "module" }),
  };
}

/**
 * Enlarge a picture.
 *
 * @param image pixels, a file, or an image that is loaded.
 * @returns pixels for pixels, a file for a file or an image.
 * @throws UpscaleError with a `code`; the signal's reason if it was aborted.
 */
export function upscale(image: ImageData, options?: UpscaleOptions): Promise<ImageData>;
export function upscale(image: Blob | HTMLImageElement, options?: UpscaleOptions): Promise<Blob>;
export async function upscale(
  image: ImageData | Blob | HTMLImageElement,
  options: UpscaleOptions = {},
): Promise<ImageData | Blob> {
  checkOptions(options);
  options.signal?.throwIfAborted();
  const source = await sourceOf(image);
  options.signal?.throwIfAborted();
  const id = nextId++;
  const colorSpace = image instanceof ImageData ? image.colorSpace : "srgb";
  return new Promise((resolve, reject) => {
    const cancel = (): void => {
      if (!waiting.delete(id)) return;
      send({ kind: "cancel", id });
      reject(options.signal?.reason);
    };
    options.signal?.addEventListener("abort", cancel, { once: true });
    const settled = <T>(then: (value: T) => void) => (value: T): void => {
      options.signal?.removeEventListener("abort", cancel);
      then(value);
    };
    waiting.set(id, { resolve: settled(resolve), reject: settled(reject), options, colorSpace });
    send(requestOf(id, source, options), "bitmap" in source ? [source.bitmap] : []);
  });
}

/** Stop the worker and free its memory; what runs is rejected. The next `upscale` starts a new one. */
export function close(): void {
  worker?.terminate();
  worker = null;
  failAll(new UpscaleError("engine", "closed"));
}

const CHOICES = {
  format: ["auto", "image/png", "image/jpeg", "image/webp"],
  metadata: ["all", "profile"],
  device: ["auto", "webgpu", "wasm"],
  force: [true, false],
} as const;

function checkOptions(options: UpscaleOptions): void {
  if (typeof options !== "object" || options === null) {
    throw new UpscaleError("option", `the options are ${String(options)}: an object is needed, or none`);
  }
  const { quality, tile, maxMemory, scale, size, model } = options;
  for (const [name, allowed] of Object.entries(CHOICES)) {
    const value = options[name as keyof typeof CHOICES];
    if (value !== undefined && !(allowed as readonly unknown[]).includes(value)) {
      throw new UpscaleError("option", `${name} is ${String(value)}: ${allowed.join(", ")} are allowed`);
    }
  }
  if (model !== undefined && typeof model !== "string" && !(model instanceof URL)) {
    throw new UpscaleError("option", `model is ${String(model)}: a name of models() or a URL object is needed`);
  }
  if (size !== undefined && (typeof size !== "object" || size === null)) {
    throw new UpscaleError("option", `size is ${String(size)}: an object with width, height or maxSide is needed`);
  }
  const within = (name: string, value: number | undefined, low: number, high: number): void => {
    if (value !== undefined && !(value >= low && value <= high)) {
      throw new UpscaleError("option", `${name} is ${value}: ${low} to ${high} is needed`);
    }
  };
  within("quality", quality, 1, 100);
  within("scale", scale, 1, 16);
  within("maxMemory", maxMemory, 1, Number.MAX_SAFE_INTEGER);
  if (tile !== undefined && !(Number.isInteger(tile) && tile >= 0)) {
    throw new UpscaleError("option", `tile is ${tile}: a whole number of pixels, or 0 to choose, is needed`);
  }
  if (scale !== undefined && size !== undefined) {
    throw new UpscaleError("option", "scale and size are both given: give one of them");
  }
}

async function sourceOf(image: ImageData | Blob | HTMLImageElement): Promise<Source> {
  if (image instanceof Blob) return { blob: image };
  if (image instanceof ImageData) {
    return { raw: { data: bytesOf(image), width: image.width, height: image.height } };
  }
  if (image instanceof HTMLImageElement) {
    await image.decode().catch(() => {
      throw new UpscaleError("picture", "the image cannot be decoded: it is broken, or it has no source");
    });
    return { bitmap: await createImageBitmap(image, { colorSpaceConversion: "none", premultiplyAlpha: "none" }) };
  }
  throw new UpscaleError("picture", "a picture is an ImageData, a Blob or an HTMLImageElement");
}

/** The pixels of an ImageData, 8 bits a channel. Floating point, where a browser has it, is rounded. */
function bytesOf(image: ImageData): Uint8ClampedArray<ArrayBuffer> {
  const given: Uint8ClampedArray | ArrayLike<number> = image.data;
  if (given.length !== image.width * image.height * 4) {
    throw new UpscaleError("picture", "the ImageData has lost its pixels: they were transferred elsewhere");
  }
  return given instanceof Uint8ClampedArray ? new Uint8ClampedArray(given) : Uint8ClampedArray.from(given, (value) => value * 255);
}

function requestOf(id: number, source: Source, options: UpscaleOptions): Request {
  return {
    kind: "upscale",
    id,
    source,
    models: places.models,
    engines: places.engines,
    scale: options.scale ?? null,
    size: options.size ? { width: options.size.width, height: options.size.height, maxSide: options.size.maxSide } : null,
    model: options.model instanceof URL ? { url: options.model.href } : (options.model ?? "auto"),
    format: options.format ?? "auto",
    quality: options.quality ?? 92,
    keep: options.metadata ?? "all",
    force: options.force ?? false,
    device: options.device ?? "auto",
    tile: options.tile ?? 0,
    maxMemory: options.maxMemory ?? 1e9,
  };
}

function send(message: ToWorker, transfer: Transferable[] = []): void {
  worker ??= startWorker();
  worker.postMessage(message, transfer);
}

function startWorker(): Worker {
  const made = places.worker();
  made.onmessage = ({ data }: MessageEvent<FromWorker>) => hear(data);
  made.onerror = (event) => {
    event.preventDefault();
    made.terminate();
    if (worker === made) worker = null;
    failAll(new UpscaleError("engine", `the worker ended: ${event.message || "its file cannot be loaded"}`));
  };
  return made;
}

function failAll(why: UpscaleError): void {
  const all = [...waiting.values()];
  waiting.clear();
  for (const { reject } of all) reject(why);
}

function hear(message: FromWorker): void {
  const entry = waiting.get(message.id);
  if (!entry) return;
  if (message.kind === "progress") return entry.options.onProgress?.(message.share);
  if (message.kind === "started") return entry.options.onStart?.(message.info);
  waiting.delete(message.id);
  if (message.kind === "blob") entry.resolve(message.blob);
  else if (message.kind === "error") entry.reject(new UpscaleError(message.code, message.message, message.options, message.loses));
  else if (message.kind === "raw") {
    const { data, width, height } = message.raw;
    entry.resolve(new ImageData(data, width, height, { colorSpace: entry.colorSpace }));
  }
}
