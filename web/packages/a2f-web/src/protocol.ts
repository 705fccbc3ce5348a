/** What the page and the worker say to each other. */
import type { Loss, UpscaleErrorCode } from "./errors";
import type { Format } from "./encode";

export type Device = "auto" | "webgpu" | "wasm";

/** A model that the worker can fetch. */
export interface ModelEntry {
  readonly name: string;
  readonly scale: number;
  readonly kind: "clean" | "robust";
  /** JPEG quality below which robust weights are better; 0 if they never are. */
  readonly jpegBelow: number;
  readonly bytes: number;
  readonly url: string;
}

/** Where the engine's files lie. */
export interface EngineUrls {
  readonly wasm: { readonly mjs: string; readonly wasm: string };
  readonly webgpu: { readonly mjs: string; readonly wasm: string };
}

/** What is running. */
export interface RunInfo {
  readonly model: string;
  readonly device: "webgpu" | "wasm";
  readonly threads: number;
  readonly width: number;
  readonly height: number;
  /** Whether the features lie in a file of the browser's own, since they are larger than `maxMemory`. */
  readonly inFile: boolean;
  /** What is lost of the file, a sentence each. */
  readonly notes: readonly string[];
}

export type Source = { readonly blob: Blob } | { readonly bitmap: ImageBitmap } | { readonly raw: RawImage };

export interface RawImage {
  readonly data: Uint8ClampedArray<ArrayBuffer>;
  readonly width: number;
  readonly height: number;
}

export interface Request {
  readonly kind: "upscale";
  readonly id: number;
  readonly source: Source;
  readonly models: readonly ModelEntry[];
  readonly engines: EngineUrls;
  readonly scale: number | null;
  readonly size: { readonly width?: number | undefined; readonly height?: number | undefined; readonly maxSide?: number | undefined } | null;
  /** A name, "auto", or the address of a model file. */
  readonly model: string | { readonly url: string };
  readonly format: Format | "auto";
  readonly quality: number;
  readonly keep: "all" | "profile";
  readonly force: boolean;
  readonly device: Device;
  readonly tile: number;
  readonly maxMemory: number;
}

export type ToWorker = Request | { readonly kind: "cancel"; readonly id: number };

export type FromWorker =
  | { readonly kind: "started"; readonly id: number; readonly info: RunInfo }
  | { readonly kind: "progress"; readonly id: number; readonly share: number }
  | { readonly kind: "blob"; readonly id: number; readonly blob: Blob }
  | { readonly kind: "raw"; readonly id: number; readonly raw: RawImage }
  | { readonly kind: "cancelled"; readonly id: number }
  | {
      readonly kind: "error";
      readonly id: number;
      readonly code: UpscaleErrorCode;
      readonly message: string;
      readonly options: readonly string[];
      readonly loses: readonly Loss[];
    };
