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

let server: Server;
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
});

test.afterAll(() => {
  server.closeAllConnections();
  server.close();
});

test("pixels are the command line's within one level", async ({ page }) => {
  references("make");
  const cases = JSON.parse(readFileSync(join(folder, "cases.json"), "utf8")) as Case[];
  await page.goto(`${address}/example.html`);
  for (const { name, file, options } of cases) {
    const given = readFileSync(join(folder, file)).toString("base64");
    const made = await page.evaluate(
      async ([base64, type, wanted]) => {
        const { upscale } = (await import("/index.js" as string)) as typeof import("a2f-web");
        const blob = await (await fetch(`data:${type};base64,${base64}`)).blob();
        const bytes = new Uint8Array(await (await upscale(blob, wanted as object)).arrayBuffer());
        return Array.from(bytes);
      },
      [given, file.endsWith("jpg") ? "image/jpeg" : "image/png", options] as const,
    );
    writeFileSync(join(folder, `${name}.out.png`), Uint8Array.from(made));
  }
  const found = JSON.parse(references("compare")) as Record<string, { largest: number; changed: number }>;
  console.log(found);
  for (const [name, { largest, changed }] of Object.entries(found)) {
    expect(largest, name).toBeLessThanOrEqual(1);
    expect(changed, name).toBeLessThan(0.002);
  }
});
