/** The package's pixels are the command line's within one level. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import type { Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test } from "@playwright/test";

import { PACKAGE, PYTHON, WEB, listen } from "./places";
import { serveFolder } from "./server.mjs";

interface Case {
  readonly name: string;
  readonly file: string;
  readonly options: Record<string, unknown>;
}

interface Found {
  readonly largest: number;
  readonly changed: number;
  /** Format, maker, orientation, and whether the colour profile is there. */
  readonly told: readonly [string, string, number, boolean];
}

let server: Server;
let models: Server;
let address: string;
const folder = mkdtempSync(join(tmpdir(), "a2f-pixels-"));

function references(command: "make" | "compare"): string {
  const script = join(WEB, "tests/references.py");
  const env = { ...process.env, PYTHONPATH: join(WEB, "../src") };
  return execFileSync(PYTHON, [script, command, folder], { encoding: "utf8", env });
}

test.beforeAll(async () => {
  server = serveFolder(PACKAGE);
  address = await listen(server);
  models = serveFolder(folder, { headers: { "access-control-allow-origin": "*" } });
});

test.afterAll(() => {
  for (const one of [server, models]) {
    one.closeAllConnections();
    one.close();
  }
});

test("pixels are the command line's within one level, and profile and EXIF are kept", async ({ page }) => {
  test.setTimeout(600_000); // many pictures, on a machine that may do other work
  references("make");
  const cases = JSON.parse(readFileSync(join(folder, "cases.json"), "utf8")) as Case[];
  await page.goto(`${address}/example.html`);
  const elsewhere = await listen(models);
  for (const { name, file, options } of cases) {
    const given = readFileSync(join(folder, file)).toString("base64");
    const made = await page.evaluate(
      async ([base64, type, wanted, root]) => {
        const { upscale } = (await import("/index.js" as string)) as typeof import("a2f-web");
        const blob = await (await fetch(`data:${type};base64,${base64}`)).blob();
        const options = "model" in wanted ? { ...wanted, model: new URL(String(wanted["model"]), root) } : wanted;
        const bytes = new Uint8Array(await (await upscale(blob, options)).arrayBuffer());
        return Array.from(bytes);
      },
      [given, file.endsWith("jpg") ? "image/jpeg" : "image/png", options, elsewhere] as const,
    );
    writeFileSync(join(folder, `${name}.out.png`), Uint8Array.from(made));
  }
  const found = JSON.parse(references("compare")) as Record<string, Found>;
  expect(Object.keys(found)).toHaveLength(cases.length);
  for (const [name, { largest, changed, told }] of Object.entries(found)) {
    if (/^(kept|upright)/.test(name)) expect(told.slice(1), name).toEqual(["a camera", 1, true]);
    if (name === "kept_in_jpeg" || name === "kept_in_webp") {
      expect(told[0]).toBe(name === "kept_in_jpeg" ? "JPEG" : "WEBP"); // lossy: their pixels are not compared
      continue;
    }
    if (name === "alpha_on_white") {
      expect(told[0]).toBe("JPEG");
      expect(largest, name).toBeLessThanOrEqual(4); // two encoders of quality 100
      continue;
    }
    expect(largest, name).toBeLessThanOrEqual(1);
    expect(changed, name).toBeLessThan(0.002);
  }
});

test("WebGPU gives the pixels of WebAssembly within one level", async ({ playwright }) => {
  test.skip(!process.env["A2F_WEBGPU"], "set A2F_WEBGPU=1: without a GPU it takes a minute");
  test.setTimeout(600_000);
  const executablePath = test.info().project.use.launchOptions?.executablePath;
  const args = ["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];
  const browser = await playwright.chromium.launch({ executablePath, args });
  const page = await browser.newPage();
  await page.goto(`${address}/example.html`);
  const { largest, devices } = await page.evaluate(async () => {
    const { upscale } = (await import("/index.js" as string)) as typeof import("a2f-web");
    const given = new ImageData(33, 21);
    for (let k = 0; k < given.data.length; k++) given.data[k] = k % 4 === 3 ? 255 : 128 + 100 * Math.sin(k / 7);
    const used: string[] = [];
    const run = (device: "webgpu" | "wasm"): Promise<ImageData> =>
      upscale(given, { scale: 2, device, tile: 20, onStart: (info) => used.push(info.device) });
    const [a, b] = [await run("webgpu"), await run("wasm")];
    return { devices: used, largest: a.data.reduce((max, v, k) => Math.max(max, Math.abs(v - b.data[k])), 0) };
  });
  await browser.close();
  expect(devices).toEqual(["webgpu", "wasm"]);
  expect(largest).toBeLessThanOrEqual(1);
});
