import { existsSync } from "node:fs";
import { defineConfig } from "@playwright/test";

const chromium = process.env["CHROMIUM"] ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find(existsSync);

export default defineConfig({
  testDir: "tests",
  testMatch: "*.spec.ts",
  outputDir: "test-results",
  workers: 1,
  timeout: 300_000, // patience for a machine that does other work
  reporter: "line",
  snapshotPathTemplate: "{testDir}/goldens/{arg}{ext}",
  expect: { timeout: 120_000, toHaveScreenshot: { maxDiffPixelRatio: 0.03, animations: "disabled" } },
  use: {
    browserName: "chromium",
    viewport: { width: 1280, height: 800 },
    launchOptions: { executablePath: chromium, args: ["--no-sandbox"] },
    trace: "off",
  },
});
