/** Reading a model file: safetensors with one ONNX graph a step and the numbers of the gates. */
import { UpscaleError } from "./errors";
import type { Gate } from "./gates";

const FORMAT = "a2f-browser-1";

interface Told {
  readonly format: string;
  readonly name: string;
  readonly middle: number;
  readonly config: { readonly channels: number; readonly blocks: number; readonly scale: number; readonly head_kernel: number };
}

interface Entry {
  readonly dtype: "U8" | "F32";
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** One network, ready to be opened. */
export interface Model {
  readonly name: string;
  readonly scale: number;
  /** C of the paper. */
  readonly channels: number;
  /** L of the paper. */
  readonly blocks: number;
  /** The last level whose features are kept as they are. */
  readonly middle: number;
  /** Pixels that the head reads around a tile. */
  readonly headHalo: number;
  /** What stands for "no light" outside the image, RGB in [0, 1]. */
  readonly mean: Float32Array;
  /** One for each block. */
  readonly gates: readonly Gate[];
  /** ONNX files: "head", "block_1" .., "exchange", "tail". */
  readonly graphs: ReadonlyMap<string, Uint8Array>;
}

/** Read a model file that `tools/export_web.py` wrote. */
export function readModel(file: ArrayBuffer): Model {
  const { header, body } = split(file);
  const told = toldIn(header);
  const graphs = new Map<string, Uint8Array>();
  const numbers = new Map<string, Float32Array>();
  for (const [name, entry] of Object.entries(header) as [string, Entry][]) {
    if (name === "__metadata__") continue;
    const [begin, end] = entry.data_offsets;
    if (entry.dtype === "U8") graphs.set(name, new Uint8Array(file, body + begin, end - begin));
    else numbers.set(name, new Float32Array(file.slice(body + begin, body + end)));
  }
  const number = (name: string): Float32Array => {
    const found = numbers.get(name);
    if (!found) throw new UpscaleError("model", `the model file misses ${name}: export it again`);
    return found;
  };
  const { channels, blocks, scale, head_kernel } = told.config;
  return {
    name: told.name,
    scale,
    channels,
    blocks,
    middle: told.middle,
    headHalo: head_kernel >> 1,
    mean: number("mean"),
    gates: Array.from({ length: blocks }, (_, k) => {
      const of = (name: string): Float32Array => number(`gate_${k + 1}.${name}`);
      return {
        proj: of("proj"),
        weight1: of("conv1.weight"),
        bias1: of("conv1.bias"),
        weight2: of("conv2.weight"),
        bias2: of("conv2.bias"),
        lambda: of("lambda_att")[0],
      };
    }),
    graphs,
  };
}

function split(file: ArrayBuffer): { header: Record<string, unknown>; body: number } {
  try {
    const length = Number(new DataView(file).getBigUint64(0, true));
    const text = new TextDecoder().decode(new Uint8Array(file, 8, length));
    return { header: JSON.parse(text) as Record<string, unknown>, body: 8 + length };
  } catch {
    throw new UpscaleError("model", `${file.byteLength} bytes are no model file: export it with tools/export_web.py`);
  }
}

function toldIn(header: Record<string, unknown>): Told {
  const metadata = header["__metadata__"] as { a2f?: string } | undefined;
  const told = metadata?.a2f === undefined ? undefined : (JSON.parse(metadata.a2f) as Told);
  if (told?.format !== FORMAT) {
    throw new UpscaleError("model", `a model file of format ${told?.format ?? "unknown"}: this version reads ${FORMAT}`);
  }
  return told;
}
