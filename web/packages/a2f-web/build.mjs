// Builds dist/: index.js, worker.js, the types, onnxruntime's two WebAssembly engines and the models.
// The models are exported by tools/export_web.py; PYTHON names the Python to use.
import { execFileSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "rolldown";

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, "../../..");
const dist = join(here, "dist");
const venv = join(root, ".venv/bin/python");
const python = process.env.PYTHON ?? (existsSync(venv) ? venv : "python3");
const require = createRequire(import.meta.url);

rmSync(dist, { recursive: true, force: true });
mkdirSync(join(dist, "ort"), { recursive: true });
execFileSync(python, [join(root, "tools/export_web.py"), join(dist, "models")], { stdio: ["ignore", "ignore", "inherit"] });

const ort = dirname(require.resolve("onnxruntime-web/wasm"));
const engines = { wasm: "ort-wasm-simd-threaded", webgpu: "ort-wasm-simd-threaded.asyncify" };
for (const name of Object.values(engines)) {
  for (const end of ["mjs", "wasm"]) copyFileSync(join(ort, `${name}.${end}`), join(dist, "ort", `${name}.${end}`));
}
cpSync(join(here, "ONNXRUNTIME-LICENSE"), join(dist, "ort/LICENSE"));
copyFileSync(join(here, "example/example.html"), join(dist, "example.html"));

// Literal `new URL(..., import.meta.url)`, which bundlers find and copy.
const url = (path) => `new URL("./${path}", import.meta.url).href`;
const { models } = JSON.parse(readFileSync(join(dist, "models/index.json"), "utf8"));
const entries = models.map(
  (m) =>
    `  { name: "${m.name}", scale: ${m.scale}, kind: "${m.kind}", jpegBelow: ${m.jpeg_below}, ` +
    `bytes: ${m.bytes}, url: ${url(`models/${m.file}`)} },`,
);
const engine = (name) => `{ mjs: ${url(`ort/${name}.mjs`)}, wasm: ${url(`ort/${name}.wasm`)} }`;
writeFileSync(
  join(here, "src/files.ts"),
  [
    "// Written by build.mjs from the models that are shipped.",
    'import type { EngineUrls, ModelEntry } from "./protocol";',
    "",
    "export const MODELS: readonly ModelEntry[] = [",
    ...entries,
    "];",
    "",
    `export const ENGINES: EngineUrls = {\n  wasm: ${engine(engines.wasm)},\n  webgpu: ${engine(engines.webgpu)},\n};`,
    "",
  ].join("\n"),
);

const resolveOptions = { conditionNames: ["onnxruntime-web-use-extern-wasm", "import", "browser"] };
const output = { dir: dist, format: "esm", comments: false };
await build({ input: { index: join(here, "src/index.ts") }, resolve: resolveOptions, output: { ...output, minify: false }, logLevel: "warn" });
await build({
  input: { worker: join(here, "src/worker.ts") },
  resolve: resolveOptions,
  output: { ...output, minify: true, chunkFileNames: "worker-[name].js" },
  logLevel: "warn",
});
execFileSync(process.execPath, [require.resolve("typescript/bin/tsc"), "-p", here], { stdio: "inherit" });
