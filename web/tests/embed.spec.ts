/** The package in pages of other people: as it is, and bundled by Vite. */
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import type { Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test } from "@playwright/test";
import { build } from "vite";

import { PACKAGE, WEB, listen } from "./places";
import { serveFolder } from "./server.mjs";

let server: Server;

test.afterEach(() => {
  server.closeAllConnections();
  server.close();
});

test("the example page of ten lines enlarges a picture, without threads too", async ({ page }) => {
  server = serveFolder(PACKAGE, { isolated: false });
  await page.goto(`${await listen(server)}/example.html`);
  await page.setInputFiles("input", join(WEB, "tests/goldens/tiny.png"));
  await expect(page.locator("img")).toHaveAttribute("src", /^blob:/);
  await expect.poll(() => page.locator("img").evaluate((img: HTMLImageElement) => img.naturalWidth)).toBe(24);
  const readme = readFileSync(join(WEB, "packages/a2f-web/README.md"), "utf8");
  const lines = readFileSync(join(PACKAGE, "example.html"), "utf8").trim().split("\n").slice(3);
  expect(lines).toHaveLength(9);
  expect(readme).toContain(lines.join("\n"));
});

test("Vite finds the worker, the networks and the engine; errors and cancelling are told", async ({ page }) => {
  const root = mkdtempSync(join(tmpdir(), "a2f-bundle-"));
  mkdirSync(join(root, "node_modules"));
  symlinkSync(join(WEB, "packages/a2f-web"), join(root, "node_modules/a2f-web"));
  writeFileSync(
    join(root, "index.html"),
    '<!doctype html><title>x</title><script type="module">import * as a2f from "a2f-web"; window.a2f = a2f;</script>',
  );
  await build({ root, logLevel: "error", build: { reportCompressedSize: false } });
  server = serveFolder(join(root, "dist"));
  await page.goto(await listen(server));
  const found = await page.evaluate(async () => {
    const { upscale, models } = (window as unknown as { a2f: typeof import("a2f-web") }).a2f;
    const image = new ImageData(9, 6);
    const made = await upscale(image, { scale: 2, device: "wasm" });
    const code = ({ code: own, name }: { code?: string; name: string }): string => (name === "UpscaleError" ? own! : name);
    const wrong = [
      await upscale(image, { scale: 40 }).catch(code),
      await upscale(image, { model: "xl" }).catch(code),
      await upscale(image, { model: 4 as unknown as string }).catch(code),
      await upscale(image, { model: new URL("nothing.a2f", location.href) }).catch(code),
      await upscale(image, { format: "image/avif" as "image/png" }).catch(code),
      await upscale(image, { device: "cuda" as "wasm" }).catch(code),
      await upscale(image, { metadata: "none" as "all" }).catch(code),
      await upscale(image, null as unknown as object).catch(code),
      await upscale(image, { size: 5 as unknown as object }).catch(code),
      await upscale(new Image()).catch(code),
      await upscale(new Blob(["no"])).catch(code),
      await upscale(image, { signal: AbortSignal.abort() }).catch(code),
    ];
    const stop = new AbortController();
    const running = upscale(new ImageData(300, 300), { signal: stop.signal, onProgress: () => stop.abort() });
    wrong.push(await running.then(() => "made", code));
    const after = await upscale(image, { size: { width: 5, height: 4 } }); // the worker lives on
    const floating = new ImageData(8, 8, { pixelFormat: "rgba-float16" } as ImageDataSettings);
    (floating.data as unknown as number[]).fill(floating.data instanceof Uint8ClampedArray ? 128 : 0.5);
    const half = [...(await upscale(floating, { scale: 2 })).data.slice(0, 4)];
    return { size: [made.width, made.height], half, wrong, after: [after.width, after.height], names: models().map(({ name }) => name) };
  });
  expect(found.size).toEqual([18, 12]);
  expect(found.wrong).toEqual(["option", "model", "option", "model", "option", "option", "option", "option", "option", "picture", "picture", "AbortError", "AbortError"]);
  for (const value of found.half) expect(Math.abs(value - 128)).toBeLessThanOrEqual(2);
  expect(found.after).toEqual([5, 4]);
  expect(found.names).toContain("sd-robust");
});

test("where WebGPU promises more than it holds, WebAssembly goes on and the caller is told", async ({ page }) => {
  server = serveFolder(PACKAGE);
  await page.route("**/worker.js", async (route) => {
    const promise = 'Object.defineProperty(navigator, "gpu", { value: { requestAdapter: async () => ({ info: {} }) } });\n';
    const body = promise + readFileSync(join(PACKAGE, "worker.js"), "utf8");
    const headers = { "content-type": "text/javascript", "cross-origin-embedder-policy": "require-corp" };
    await route.fulfill({ body, headers });
  });
  await page.goto(`${await listen(server)}/example.html`);
  const used = await page.evaluate(async () => {
    const { upscale } = (await import("/index.js" as string)) as typeof import("a2f-web");
    const devices: string[] = [];
    const onStart = ({ device }: { device: string }): void => void devices.push(device);
    await upscale(new ImageData(9, 6), { scale: 2, onStart });
    const asked = await upscale(new ImageData(9, 6), { scale: 2, device: "webgpu" }).catch((e: { name: string }) => e.name);
    return { devices, asked };
  });
  expect(used).toEqual({ devices: ["wasm"], asked: "UpscaleError" });
});
