/** The static site, as a person uses it: pictures are enlarged in this browser. */
import { readFileSync } from "node:fs";
import type { Server } from "node:http";
import { join } from "node:path";

import { type Page, expect, test } from "@playwright/test";

import { checkAccessibility } from "./accessibility";
import { PHOTO, SITE, listen } from "./places";
import { serveFolder } from "./server.mjs";

let server: Server;
let address: string;
let small: Buffer;

test.beforeAll(async ({ browser }) => {
  server = serveFolder(SITE);
  address = await listen(server);
  small = await cropped(await browser.newPage());
});

test.afterAll(() => {
  server.closeAllConnections();
  server.close();
});

/** 48 x 40 pixels of the bundled photograph, so that tests take little time. */
async function cropped(page: Page): Promise<Buffer> {
  const bytes = await page.evaluate(async (base64) => {
    const blob = await (await fetch(`data:image/png;base64,${base64}`)).blob();
    const canvas = new OffscreenCanvas(48, 40);
    canvas.getContext("2d")!.drawImage(await createImageBitmap(blob), -80, -50);
    return Array.from(new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer()));
  }, readFileSync(PHOTO).toString("base64"));
  await page.close();
  return Buffer.from(bytes);
}

async function add(page: Page, ...names: string[]): Promise<void> {
  const files = names.map((name) => ({ name, mimeType: "image/png", buffer: small }));
  await page.setInputFiles("input[type=file]", files);
  await expect(page.locator(".strip li")).toHaveCount(names.length);
}

const enlarge = (page: Page) => page.getByRole("button", { name: /^Enlarge/ });

test.describe("without a service worker", () => {
  test.use({ serviceWorkers: "block" });

  test.beforeEach(async ({ page }) => {
    await page.goto(address);
    await expect(page.locator("input[type=file]")).toBeAttached(); // the page is built by its script
  });

  test("pictures are enlarged, one after the other, and downloaded", async ({ page }) => {
    const outside: string[] = [];
    page.on("request", (request) => {
      if (!request.url().startsWith(address) && !/^(blob|data):/.test(request.url())) outside.push(request.url());
      expect(request.method()).toBe("GET"); // nothing is ever sent
    });
    await add(page, "one.png", "two.png");
    await page.getByText("2×").click();
    await enlarge(page).click();
    await expect(page.locator("[data-state=done]")).toHaveCount(2);
    await expect(page.locator(".facts").first()).toHaveText(/48\s×\s40 → 96\s×\s80, PNG, \d+\skB/);
    await expect(enlarge(page)).toBeHidden();
    const one = page.waitForEvent("download");
    await page.getByRole("button", { name: "Download", exact: true }).click();
    expect((await one).suggestedFilename()).toBe("one_x2.png");
    const all = page.waitForEvent("download");
    await page.getByRole("button", { name: "Download all 2 as ZIP" }).click();
    const archive = readFileSync(await (await all).path());
    expect(archive.includes("one_x2.png") && archive.includes("two_x2.png")).toBe(true);
    expect(outside).toEqual([]);
    await page.getByText("3×").click(); // another wish: the results are no longer what is asked for
    await expect(enlarge(page)).toHaveText("Enlarge again");
    await expect(page.getByRole("button", { name: "All 2 again" })).toBeVisible();
  });

  test("a transparent picture becomes a JPEG on white, on request", async ({ page }) => {
    const made = await page.evaluate(async () => {
      const canvas = new OffscreenCanvas(40, 24);
      const context = canvas.getContext("2d")!;
      context.fillStyle = "#0a0";
      context.fillRect(0, 0, 20, 24); // the right half stays transparent
      return Array.from(new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer()));
    });
    await page.setInputFiles("input[type=file]", { name: "half.png", mimeType: "image/png", buffer: Buffer.from(made) });
    await page.getByText("2×").click();
    await page.getByLabel("Format").selectOption("jpeg");
    await enlarge(page).click();
    await expect(page.getByRole("alert")).toHaveText("JPEG cannot hold transparency.");
    await page.getByRole("button", { name: "Fill with white" }).click();
    await expect(page.locator("[data-state=done]")).toHaveCount(1);
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: "Download", exact: true }).click();
    const file = readFileSync(await (await download).path()).toString("base64");
    const [left, right] = await page.evaluate(async (base64) => {
      const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)); // the page's policy forbids data:
      const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
      const context = new OffscreenCanvas(80, 48).getContext("2d")!;
      context.drawImage(bitmap, 0, 0);
      return [8, 70].map((x) => Array.from(context.getImageData(x, 24, 1, 1).data.subarray(0, 3)));
    }, file);
    for (const [pixel, wanted] of [[left, [0, 170, 0]], [right, [255, 255, 255]]] as const) {
      pixel.forEach((value, c) => expect(Math.abs(value - wanted[c])).toBeLessThan(8)); // JPEG is lossy
    }
  });

  test("what this browser does not decode is told", async ({ page }) => {
    const frame = "2c0000000001000100000202440100";
    const gif = Buffer.from(`47494638396101000100800000000000ffffff${frame}${frame}3b`, "hex"); // of one pixel
    await page.setInputFiles("input[type=file]", { name: "moves.gif", mimeType: "image/gif", buffer: gif });
    await enlarge(page).click();
    await expect(page.locator("[data-state=done]")).toHaveCount(1);
    await expect(page.locator(".outcome .notes li")).toHaveText(["The picture is animated; the result has its first frame only."]);
  });

  test("work can be cancelled and begun again", async ({ page }) => {
    await page.setInputFiles("input[type=file]", PHOTO);
    await enlarge(page).click();
    await expect(page.getByRole("progressbar")).toHaveAttribute("aria-valuenow", /[1-9]/);
    await page.getByRole("button", { name: "Cancel" }).click();
    await expect(page.locator("[data-state=cancelled]")).toHaveCount(1);
    await expect(enlarge(page)).toBeEnabled();
  });

  test("the keyboard alone is enough", async ({ page }) => {
    await expect(page.getByRole("button", { name: "Choose pictures" })).toBeVisible();
    await page.keyboard.press("Tab");
    await expect(page.getByRole("button", { name: "Choose pictures" })).toBeFocused();
    await add(page, "one.png");
    await expect(enlarge(page)).toBeFocused();
    await page.keyboard.press("Enter");
    await expect(page.locator("[data-state=done]")).toHaveCount(1);
    const slider = page.locator(".work").getByRole("slider", { name: "Before and after" });
    await slider.focus();
    await page.keyboard.press("ArrowRight");
    await expect(slider).toHaveAttribute("aria-valuenow", "52");
    await page.keyboard.press("End");
    await expect(slider).toHaveAttribute("aria-valuetext", "100 % before, 0 % after");
    await page.locator(".work canvas.stage-canvas").focus();
    const zoom = page.getByRole("button", { name: /One to one|Zoom .*%/i });
    const before = await zoom.textContent();
    await page.keyboard.press("+");
    await expect(zoom).not.toHaveText(before!);
    await page.keyboard.press("1");
    await expect(zoom).toHaveText("100 %");
    await page.locator(".thumb").focus();
    await page.keyboard.press("Delete");
    await expect(page.getByRole("button", { name: "Choose pictures" })).toBeVisible();
  });

  test("the mouse moves the slider, zooms to single pixels and pans", async ({ page }) => {
    await add(page, "one.png");
    await page.getByText("2×").click();
    await enlarge(page).click();
    await expect(page.locator("[data-state=done]")).toHaveCount(1);
    const slider = page.locator(".work .split");
    const box = (await page.locator(".work .stage").boundingBox())!;
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width / 4, box.y + box.height / 2, { steps: 4 });
    await page.mouse.up();
    await expect(slider).toHaveAttribute("aria-valuenow", "25");
    for (let k = 0; k < 12; k++) await page.mouse.wheel(0, -600);
    await expect(page.locator(".zoom-text")).toHaveText("6400 %");
    const shown = page.locator(".work .stage-canvas");
    const at = await shown.screenshot();
    await page.mouse.down();
    await page.mouse.move(box.x + box.width / 4 + 150, box.y + box.height / 2 + 90, { steps: 4 });
    await page.mouse.up();
    expect((await shown.screenshot()).equals(at)).toBe(false);
  });

  test("pictures are dropped and pasted; other files say what is wrong", async ({ page }) => {
    await page.evaluate((base64) => {
      const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      for (const name of ["drop", "paste"]) {
        const data = new DataTransfer();
        data.items.add(new File([bytes], `${name}.png`, { type: "image/png" }));
        const event =
          name === "drop"
            ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
        document.body.dispatchEvent(event);
      }
    }, small.toString("base64"));
    await expect(page.locator(".strip li")).toHaveCount(2);
    await page.setInputFiles("input[type=file]", { name: "no.png", mimeType: "image/png", buffer: Buffer.from("no picture") });
    await page.getByText("2×").click();
    await enlarge(page).click();
    await expect(page.locator("[data-state=failed]")).toHaveCount(1);
    await page.getByRole("button", { name: "no.png, failed" }).click();
    await expect(page.getByRole("alert")).toContainText("This browser cannot open the file");
    await expect(page.locator("[data-state=done]")).toHaveCount(2);
  });

  for (const [name, size, scheme] of [
    ["wide", { width: 1280, height: 800 }, "light"],
    ["wide-dark", { width: 1280, height: 800 }, "dark"],
    ["phone", { width: 390, height: 844 }, "light"],
  ] as const) {
    test(`it looks as it should and is accessible: ${name}`, async ({ page }) => {
      await page.setViewportSize(size);
      await page.emulateMedia({ colorScheme: scheme });
      await expect(page.locator(".landing .tag-after")).toBeVisible();
      await checkAccessibility(page);
      await expect(page).toHaveScreenshot(`landing-${name}.png`);
      await add(page, "one.png", "two.png");
      await page.getByText("2×").click();
      await enlarge(page).click();
      await expect(page.locator("[data-state=done]")).toHaveCount(2);
      await page.locator(".thumb").first().click();
      await page.mouse.move(5, 5);
      await page.evaluate(() => (document.activeElement as HTMLElement).blur());
      await checkAccessibility(page);
      await expect(page).toHaveScreenshot(`done-${name}.png`, { mask: [page.locator(".foot")] });
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      expect(overflow).toBeLessThanOrEqual(0);
    });
  }
});

test("after the first visit it works without a network, with threads, on a server without headers", async ({ browser }) => {
  const plain = serveFolder(SITE, { isolated: false });
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(await listen(plain));
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null && crossOriginIsolated);
  plain.closeAllConnections();
  await new Promise((closed) => plain.close(closed));
  await page.reload();
  await add(page, "one.png");
  await page.getByText("2×").click();
  await enlarge(page).click();
  await expect(page.locator("[data-state=done]")).toHaveCount(1);
  const manifest = JSON.parse(readFileSync(join(SITE, "manifest.webmanifest"), "utf8")) as { icons: { src: string }[] };
  for (const { src } of manifest.icons) expect(readFileSync(join(SITE, src)).length, src).toBeGreaterThan(100);
  await context.close();
});
