/** The worker: takes one request after the other, so that each has the whole machine. */
import { decodeBlob, pixelsOf } from "./decode";
import { type Format, RawEncoder, encoderFor } from "./encode";
import { type Engine, type Pixels, enlarge, isTransparent, planFor } from "./enlarge";
import { type Runtime, startRuntime } from "./engine";
import { UpscaleError } from "./errors";
import { removeLeftovers } from "./features";
import { type FileFacts, NO_FACTS, carriedOver, factsOf } from "./metadata";
import type { FromWorker, ModelEntry, Request, ToWorker } from "./protocol";
import { type Size, planScales, targetSize } from "./sizes";

const scope = self as unknown as {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker, transfer?: Transferable[]): void;
};

class Cancelled extends Error {}

/** Messages that wait are let in this often, and progress is told. */
const BREATH_MS = 40;

const runtimes = new Map<string, Promise<Runtime>>();
const cancelled = new Set<number>();
let queue: Promise<void> = removeLeftovers().catch(() => undefined); // there is no such folder in private windows

scope.onmessage = ({ data }) => {
  if (data.kind === "cancel") cancelled.add(data.id);
  else queue = queue.then(() => answer(data));
};

async function answer(request: Request): Promise<void> {
  const { id } = request;
  try {
    await upscale(request);
  } catch (error) {
    if (error instanceof Cancelled) scope.postMessage({ kind: "cancelled", id });
    else if (error instanceof UpscaleError) {
      const { code, message, options, loses } = error;
      scope.postMessage({ kind: "error", id, code, message, options, loses });
    } else {
      scope.postMessage({ kind: "error", id, code: "engine", message: await engineFailed(request, error), options: [], loses: [] });
    }
  } finally {
    cancelled.delete(id);
  }
}

async function upscale(request: Request): Promise<void> {
  const { id, source, tile, maxMemory } = request;
  const breathe = breather(id);
  await breathe(0, true);
  const { pixels, facts } = await read(source);
  const own = typeof request.model === "string" ? null : await ownModel(request, request.model.url);
  const target = targetOf(request, pixels, own?.scale ?? 4);
  const chosen = own ? planScales(pixels, target, [own.scale]).map(() => own) : chooseModels(request, pixels, target, facts);
  const { runtime, engines } = await opened(request, chosen);
  await breathe(0, true);
  const limits = { tile, maxMemory };
  let given: Size = pixels;
  let inFile = false;
  for (const engine of engines) {
    inFile ||= planFor(engine, given, limits).inFile;
    given = { width: given.width * engine.model.scale, height: given.height * engine.model.scale };
  }
  const { device, threads } = runtime;
  const model = chosen[0]?.name ?? "none";
  const tell = (notes: readonly string[]): void =>
    scope.postMessage({ kind: "started", id, info: { model, device, threads, ...target, inFile, notes } });
  const kind = { grey: facts.grey, alpha: isTransparent(pixels) };
  const control = { tick: (share: number) => breathe(share) };
  if ("raw" in source) {
    tell([]);
    const raw = new RawEncoder(target);
    await enlarge(pixels, engines, target, limits, (row) => raw.row(row), control);
    const data = await raw.end();
    scope.postMessage({ kind: "raw", id, raw: { data, ...target } }, [data.buffer]);
    return;
  }
  const { quality, force } = request;
  const wanted = { format: formatOf(request.format, facts), quality, force };
  const { encoder, notes } = await encoderFor(wanted, target, kind, carriedOver(facts, target, request.keep));
  tell([...facts.notes, ...notes]);
  await enlarge(pixels, engines, target, limits, (row) => encoder.row(row), control);
  scope.postMessage({ kind: "blob", id, blob: await encoder.end() });
}

/** What to say of an error of the engine; a GPU that was lost is not used again. */
async function engineFailed(request: Request, error: unknown): Promise<string> {
  const message = error instanceof Error ? error.message : String(error);
  const runtime = await runtimeFor(request).catch(() => null);
  return runtime && leaveGpu(request, runtime) ? `WebGPU failed (${message}): try again, WebAssembly is used then` : message;
}

/** Lets messages in from time to time, and ends the work of a request that was cancelled. */
function breather(id: number): (share: number, now?: boolean) => Promise<void> {
  let last = 0;
  return async (share, now = false) => {
    if (!now && performance.now() - last < BREATH_MS) return;
    last = performance.now();
    if (share > 0) scope.postMessage({ kind: "progress", id, share });
    await new Promise<void>((resolve) => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        port1.close();
        resolve();
      };
      port2.postMessage(0);
    });
    if (cancelled.has(id)) throw new Cancelled();
  };
}

async function read(source: Request["source"]): Promise<{ pixels: Pixels; facts: FileFacts }> {
  if ("raw" in source) return { pixels: { ...source.raw, grey: false }, facts: NO_FACTS };
  if ("bitmap" in source) return { pixels: await pixelsOf(source.bitmap, false), facts: NO_FACTS };
  const facts = await factsOf(new Uint8Array(await source.blob.arrayBuffer()));
  return { pixels: await decodeBlob(source.blob, facts.grey), facts };
}

/** The model of a file that the caller names; the file tells its name and scale. */
async function ownModel(request: Request, url: string): Promise<ModelEntry> {
  const entry: ModelEntry = { name: url, scale: 0, kind: "clean", jpegBelow: 0, bytes: 0, url };
  const { engines } = await opened(request, [entry]);
  const { name, scale } = engines[0].model;
  return { ...entry, name, scale };
}

function targetOf({ size, scale }: Request, given: Size, usual: number): Size {
  if (size) return targetSize(given, size);
  const factor = scale ?? usual;
  if (!(factor >= 1)) throw new UpscaleError("option", `scale is ${factor}: a number from 1 to 16 is needed`);
  const side = (length: number): number => Math.max(1, Math.round(length * factor));
  return { width: side(given.width), height: side(given.height) };
}

/** The models of the passes; "auto" takes robust weights for a JPEG that was compressed strongly. */
function chooseModels({ model: named, models }: Request, given: Size, target: Size, facts: FileFacts): ModelEntry[] {
  const model = named as string;
  const wanted = model === "auto" ? "sd" : model;
  const scales = models.filter(({ name }) => name === wanted).map(({ scale }) => scale);
  if (scales.length === 0) {
    const names = [...new Set(models.map(({ name }) => name))].join(", ");
    throw new UpscaleError("model", `unknown model "${model}": choose auto, ${names}`);
  }
  return planScales(given, target, scales).map((scale, k) => {
    const robust = models.find((m) => m.name === "sd-robust" && m.scale === scale);
    const compressed = k === 0 && facts.jpegQuality !== null && facts.jpegQuality < (robust?.jpegBelow ?? 0);
    if (model === "auto" && robust && compressed) return robust;
    return models.find((m) => m.name === wanted && m.scale === scale)!;
  });
}

function formatOf(format: Format | "auto", { type }: FileFacts): Format {
  return format === "auto" ? (type ?? "image/png") : format;
}

/** The engines of the passes. "auto" turns to WebAssembly where WebGPU fails; the caller is told what runs. */
async function opened(request: Request, chosen: readonly ModelEntry[]): Promise<{ runtime: Runtime; engines: Engine[] }> {
  const runtime = await runtimeFor(request);
  try {
    return { runtime, engines: await Promise.all(chosen.map((entry) => runtime.open(entry))) };
  } catch (error) {
    if (error instanceof UpscaleError || !leaveGpu(request, runtime)) throw error;
    return opened(request, chosen);
  }
}

/** Let "auto" go on without WebGPU; false if it did already, or if WebGPU was asked for by name. */
function leaveGpu({ device, engines }: Request, { device: used }: Runtime): boolean {
  if (device !== "auto" || used !== "webgpu") return false;
  runtimes.set("auto", startRuntime("wasm", engines));
  return true;
}

function runtimeFor({ device, engines }: Request): Promise<Runtime> {
  const known = runtimes.get(device) ?? startRuntime(device, engines);
  runtimes.set(device, known);
  known.catch(() => runtimes.delete(device));
  return known;
}
