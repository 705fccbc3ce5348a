// a2f-web and UpscalerJS side by side, x4 on Set5, in one Chromium without a GPU:
//   npm ci --prefix web/bench && npm run build:package --prefix web && node web/bench/bench.mjs FOLDER [--write]
// FOLDER holds Set5 in the standard layout (HR/, LR_bicubic/X4/). --write puts the table into docs/benchmarks/browser.md.
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { cpus } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { serveFolder } from "../tests/server.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const modules = join(here, "node_modules");
const dist = resolve(here, "../packages/a2f-web/dist");
const report = resolve(here, "../../docs/benchmarks/browser.md");
const { chromium } = createRequire(join(here, "../package.json"))("@playwright/test");
const RUNS = 3;

const umd = (name) => `@upscalerjs/${name}/dist/umd/models/${name}/src/x4/index.min.js`;
const FILES = {
  "tf.min.js": "@tensorflow/tfjs/dist/tf.min.js",
  "tf-backend-wasm.min.js": "@tensorflow/tfjs-backend-wasm/dist/tf-backend-wasm.min.js",
  "upscaler.min.js": "upscaler/dist/browser/umd/upscaler.min.js",
  "slim.min.js": umd("esrgan-slim"),
  "medium.min.js": umd("esrgan-medium"),
};
const TFJS_WASM = "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-threaded-simd.wasm";
const DOWNLOADS = {
  "a2f-web": ["index.js", "worker.js", "worker-rolldown-runtime.js", "worker-ort.wasm.min.js", "models/sd_x4.a2f",
    "ort/ort-wasm-simd-threaded.mjs", "ort/ort-wasm-simd-threaded.wasm"].map((name) => join(dist, name)),
  slim: downloadOf("esrgan-slim", "slim.min.js"),
  medium: downloadOf("esrgan-medium", "medium.min.js"),
};

function downloadOf(model, script) {
  const names = ["tf.min.js", "tf-backend-wasm.min.js", "upscaler.min.js", script].map((name) => FILES[name]);
  const weights = ["model.json", "group1-shard1of1.bin"].map((name) => `@upscalerjs/${model}/models/x4/${name}`);
  return [...names, TFJS_WASM, ...weights].map((name) => join(modules, name));
}

/** One origin for all: the page, a2f-web below /a2f/, the models of UpscalerJS below /models/. */
function server() {
  const parts = [["/a2f/", dist], ["/models/", join(modules, "@upscalerjs")], ["/wasm/", join(modules, dirname(TFJS_WASM))]];
  const servers = parts.map(([prefix, folder]) => [prefix, serveFolder(folder)]);
  const page = serveFolder(here);
  return createServer((request, response) => {
    const name = request.url.slice(1);
    const found = servers.find(([prefix]) => request.url.startsWith(prefix));
    if (found) {
      request.url = request.url.slice(found[0].length - 1);
      found[1].emit("request", request, response);
    } else if (FILES[name]) {
      const headers = { "content-type": "text/javascript", "cross-origin-resource-policy": "same-origin" };
      response.writeHead(200, headers).end(readFileSync(join(modules, FILES[name])));
    } else page.emit("request", request, response);
  });
}

/** In the page: enlarge all pictures by one method; times of each run over all of them, and PSNR-Y. */
async function measured({ method, pictures, runs, tile }) {
  const decoded = async (base64) => {
    const bitmap = await createImageBitmap(await (await fetch(`data:image/png;base64,${base64}`)).blob());
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    context.drawImage(bitmap, 0, 0);
    return context.getImageData(0, 0, bitmap.width, bitmap.height);
  };
  const ours = async () => {
    const { upscale } = await import("/a2f/index.js");
    return (image, cut) => upscale(image, { scale: 4, model: "sd", device: "wasm", tile: cut }).then(({ data }) => data);
  };
  const theirs = async (name, model) => {
    tf.wasm.setWasmPaths("/wasm/");
    await tf.setBackend("wasm");
    await tf.ready();
    const upscaler = new Upscaler({ model: { ...model, path: `/models/${name}/models/x4/model.json` } });
    return async (image, cut) => {
      const patches = cut ? { patchSize: cut, padding: 4 } : {};
      const made = await upscaler.upscale(tf.browser.fromPixels(image), { output: "tensor", ...patches });
      const rgb = await made.data();
      made.dispose();
      const out = new Uint8ClampedArray((rgb.length / 3) * 4); // which rounds and clips
      for (let k = 0; k < rgb.length / 3; k++) for (let c = 0; c < 3; c++) out[4 * k + c] = rgb[3 * k + c];
      return out;
    };
  };
  const psnr = (made, hr) => {
    const luma = (d, k) => 16 + (65.481 * d[k] + 128.553 * d[k + 1] + 24.966 * d[k + 2]) / 255;
    let sum = 0;
    for (let y = 4; y < hr.height - 4; y++) {
      for (let x = 4; x < hr.width - 4; x++) {
        const k = 4 * (y * hr.width + x);
        sum += (luma(made, k) - luma(hr.data, k)) ** 2;
      }
    }
    return 10 * Math.log10(255 ** 2 / (sum / ((hr.width - 8) * (hr.height - 8))));
  };
  const models = { slim: ["esrgan-slim", globalThis.ESRGANSlim4x], medium: ["esrgan-medium", globalThis.ESRGANMedium4x] };
  const run = await (method === "a2f-web" ? ours() : theirs(...models[method]));
  const images = [];
  for (const { lr, hr } of pictures) images.push({ lr: await decoded(lr), hr: await decoded(hr) });
  const whole = [];
  for (const { lr } of images) whole.push(await run(lr, method === "a2f-web" ? 4096 : 0)); // and warm up
  const times = [];
  for (let k = 0; k < runs; k++) {
    const began = performance.now();
    for (const { lr } of images) await run(lr, 0);
    times.push((performance.now() - began) / 1000);
  }
  let changed = 0;
  let largest = 0;
  let values = 0;
  for (const [k, { lr }] of images.entries()) {
    const cut = await run(lr, tile);
    for (let i = 0; i < cut.length; i++) {
      if (i % 4 === 3) continue;
      const difference = Math.abs(cut[i] - whole[k][i]);
      values++;
      if (difference > 0) changed++;
      largest = Math.max(largest, difference);
    }
  }
  const scores = images.map(({ hr }, k) => psnr(whole[k], hr));
  return { times, psnr: scores.reduce((a, b) => a + b) / scores.length, largest, changed: changed / values };
}

function picturesIn(folder) {
  return readdirSync(join(folder, "HR")).filter((name) => name.endsWith(".png")).sort().map((name) => ({
    hr: readFileSync(join(folder, "HR", name)).toString("base64"),
    lr: readFileSync(join(folder, "LR_bicubic/X4", name.replace(".png", "x4.png"))).toString("base64"),
  }));
}

function megabytes(paths) {
  const files = paths.map((path) => readFileSync(path));
  const sum = (sizes) => (sizes.reduce((a, b) => a + b) / 1e6).toFixed(1);
  return `${sum(files.map((f) => f.length))} (${sum(files.map((f) => gzipSync(f).length))})`;
}

async function main(folder, write) {
  const listening = server();
  await new Promise((done) => listening.listen(0, "127.0.0.1", done));
  const executablePath = process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find(existsSync);
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  const pictures = picturesIn(folder);
  const found = {};
  for (const method of Object.keys(DOWNLOADS)) {
    const page = await browser.newPage();
    page.on("pageerror", (error) => console.error(method, error.message));
    await page.goto(`http://127.0.0.1:${listening.address().port}/page.html`);
    found[method] = await page.evaluate(measured, { method, pictures, runs: RUNS, tile: 32 });
    await page.close();
    console.error(method, found[method]);
  }
  const version = browser.version();
  const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
  const base = median(found["a2f-web"].times);
  const names = { "a2f-web": "a2f-web, sd", slim: "UpscalerJS, esrgan-slim", medium: "UpscalerJS, esrgan-medium" };
  const lines = ["| x4 | time | PSNR-Y, Set5 | download, MB (gzip) | tiles of 32 against whole |", "|---|---|---|---|---|"];
  for (const [method, { times, psnr, largest, changed }] of Object.entries(found)) {
    const tiles = `${Math.round(largest)} grey levels at most, ${(100 * changed).toFixed(3)} % of values`;
    const ratio = `${(median(times) / base).toFixed(2)}x`;
    lines.push(`| ${names[method]} | ${ratio} | ${psnr.toFixed(2)} dB | ${megabytes(DOWNLOADS[method])} | ${tiles} |`);
  }
  lines.push("", `Chromium ${version}; WebAssembly with SIMD and threads for all; ${cpus()[0].model.trim()}, ${cpus().length} cores; medians of ${RUNS}.`);
  const table = lines.join("\n");
  console.log(table);
  if (write) {
    const text = readFileSync(report, "utf8");
    writeFileSync(report, text.replace(/(<!-- upscalerjs -->\n)[^]*?(\n<!-- \/upscalerjs -->)/, `$1${table}$2`));
  }
  process.exit(0); // which ends the browser too: nothing waits for its other processes
}

if (!process.argv[2]) {
  console.error("usage: node web/bench/bench.mjs FOLDER [--write]");
  process.exit(2);
}
await main(process.argv[2], process.argv.includes("--write"));
