/** onnxruntime-web: which device there is, and a model's sessions on it. */
import type * as Ort from "onnxruntime-web";

import type { Engine } from "./enlarge";
import { UpscaleError } from "./errors";
import { readModel } from "./model";
import type { Device, EngineUrls, ModelEntry } from "./protocol";
import type { Tensor } from "./tiled";

/** onnxruntime on one device, and the models that were opened on it. */
export interface Runtime {
  readonly device: "webgpu" | "wasm";
  readonly threads: number;
  open(entry: ModelEntry): Promise<Engine>;
}

/** Threads beyond this gain little on these small convolutions. */
const MAX_THREADS = 8;

/** Start onnxruntime on the device that was asked for; "auto" takes WebGPU where there is a real one. */
export async function startRuntime(wanted: Device, urls: EngineUrls): Promise<Runtime> {
  const device = wanted === "auto" ? ((await hasGpu()) ? "webgpu" : "wasm") : wanted;
  if (device === "webgpu" && !("gpu" in navigator)) {
    throw new UpscaleError("option", 'this browser has no WebGPU: choose device "wasm" or "auto"');
  }
  const ort: typeof Ort = device === "webgpu" ? await import("onnxruntime-web/webgpu") : await import("onnxruntime-web/wasm");
  const threads = device === "wasm" && globalThis.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, MAX_THREADS) : 1;
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = urls[device];
  ort.env.logLevel = "error";
  const opened = new Map<string, Promise<Engine>>();
  return {
    device,
    threads,
    open: (entry) => {
      const known = opened.get(entry.url) ?? openModel(ort, device, entry);
      opened.set(entry.url, known);
      known.catch(() => opened.delete(entry.url));
      return known;
    },
  };
}

async function hasGpu(): Promise<boolean> {
  const gpu = (navigator as { gpu?: { requestAdapter(): Promise<{ info?: { isFallbackAdapter?: boolean } } | null> } }).gpu;
  const adapter = await gpu?.requestAdapter().catch(() => null);
  return adapter !== null && adapter !== undefined && !adapter.info?.isFallbackAdapter;
}

async function openModel(ort: typeof Ort, device: "webgpu" | "wasm", entry: ModelEntry): Promise<Engine> {
  const model = readModel(await fetched(entry));
  const sessions = new Map<string, Ort.InferenceSession>();
  for (const [name, graph] of model.graphs) {
    sessions.set(name, await ort.InferenceSession.create(graph, { executionProviders: [device], enableMemPattern: false }));
  }
  const run = async (step: string, inputs: Record<string, Tensor>): Promise<Record<string, Tensor>> => {
    const feeds: Record<string, Ort.Tensor> = {};
    for (const [name, { data, dims }] of Object.entries(inputs)) feeds[name] = new ort.Tensor("float32", data, dims);
    const made = await sessions.get(step)!.run(feeds);
    return Object.fromEntries(
      Object.entries(made).map(([name, tensor]) => [
        name,
        { data: tensor.data as Float32Array, dims: tensor.dims as unknown as Tensor["dims"] },
      ]),
    );
  };
  return { model, run, ...tileOf(device, ort.env.wasm.numThreads ?? 1) };
}

/** On a GPU a tile's 128 hidden channels must fit into one buffer, 128 MB at least; threads wait less in large tiles. */
function tileOf(device: "webgpu" | "wasm", threads: number): { tileArea: number; widest: number } {
  if (device === "webgpu") return { tileArea: 65536, widest: 256 };
  return threads > 1 ? { tileArea: 16384, widest: 256 } : { tileArea: 4096, widest: 128 };
}

async function fetched(entry: ModelEntry): Promise<ArrayBuffer> {
  const isShipped = entry.bytes > 0;
  const advice = isShipped
    ? "check that the folder dist/models of a2f-web is served, or go online for the first run"
    : "check its address, and that its server lets this page read it (CORS)";
  let response: Response;
  try {
    response = await fetch(entry.url);
  } catch {
    throw new UpscaleError("model", `the model ${entry.url} cannot be fetched: ${advice}`);
  }
  if (!response.ok) throw new UpscaleError("model", `the model ${entry.url} cannot be fetched (${response.status}): ${advice}`);
  return response.arrayBuffer();
}

