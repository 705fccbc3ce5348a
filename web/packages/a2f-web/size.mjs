// Prints what the package weighs, as Markdown: `npm run size -w a2f-web`. Compressed sizes are those of a server's gzip.
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const dist = join(dirname(fileURLToPath(import.meta.url)), "dist");
const sizeOf = (...paths) => {
  const files = paths.map((path) => readFileSync(join(dist, path)));
  const sum = (lengths) => (lengths.reduce((a, b) => a + b, 0) / 1e6).toFixed(2);
  return [sum(files.map((file) => file.length)), sum(files.map((file) => gzipSync(file, { level: 6 }).length))];
};
const all = readdirSync(dist, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(dist.length + 1));
const wasm = ["worker-ort.wasm.min.js", "ort/ort-wasm-simd-threaded.mjs", "ort/ort-wasm-simd-threaded.wasm"];
const webgpu = ["worker-ort.webgpu.min.js", "ort/ort-wasm-simd-threaded.asyncify.mjs", "ort/ort-wasm-simd-threaded.asyncify.wasm"];
const rows = {
  "index.js, the part in a bundle": ["index.js"],
  "worker.js": ["worker.js", "worker-rolldown-runtime.js"],
  "a model (sd x4)": ["models/sd_x4.a2f"],
  "ONNX Runtime for WebAssembly": wasm,
  "ONNX Runtime for WebGPU": webgpu,
  "first use with WebAssembly, x4": ["index.js", "worker.js", "worker-rolldown-runtime.js", "models/sd_x4.a2f", ...wasm],
  "first use with WebGPU, x4": ["index.js", "worker.js", "worker-rolldown-runtime.js", "models/sd_x4.a2f", ...webgpu],
  "the whole package": all,
};
console.log("| what | MB | MB, gzip |\n|---|---|---|");
for (const [name, paths] of Object.entries(rows)) console.log(`| ${name} | ${sizeOf(...paths).join(" | ")} |`);
