/** The page of `a2f serve`, with a server that answers as the real one does. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "@playwright/test";

import { checkAccessibility } from "./accessibility";
import { type Mock, mockServer } from "./mock";
import { PAGE, WEB, listen } from "./places";

const RESULT = readFileSync(join(WEB, "site/public/icon-192.png"));
const GIVEN = { name: "Käse & Brot.png", mimeType: "image/png", buffer: RESULT };

let mock: Mock;
const told: string[] = [];

test.beforeEach(async ({ page }) => {
  mock = mockServer(PAGE, RESULT);
  told.length = 0;
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") told.push(message.text());
  });
  page.on("pageerror", (error) => told.push(error.message));
  await page.goto(await listen(mock.server));
  await expect(page.getByRole("button", { name: "Choose pictures" })).toBeVisible();
});

test.afterEach(() => {
  mock.server.closeAllConnections();
  mock.server.close();
});

test("a picture goes to the server with what was chosen, and its result comes back", async ({ page }) => {
  await page.setInputFiles("input[type=file]", GIVEN);
  await page.getByText("Exact").click();
  await page.getByLabel("Which side").selectOption("exact");
  await page.getByLabel("Width in pixels").fill("800");
  await page.getByLabel("Height in pixels").fill("600");
  await page.getByLabel("Format").selectOption("avif");
  await page.getByLabel("Keep camera data").uncheck();
  await expect(page.locator(".facts").first()).toHaveText("192 × 192, becomes 800 × 600");
  await page.getByRole("button", { name: "Enlarge" }).click();
  await expect(page.locator("[data-state=done]")).toHaveCount(1);
  await expect(page.locator(".name")).toHaveText("Käse & Brot.png");
  await expect(page.getByText("Network for compressed JPEGs")).toBeVisible();
  const { query, body } = mock.sent[0];
  expect(Object.fromEntries(query)).toEqual({ model: "auto", size: "800x600", format: "avif", quality: "80", strip: "true" });
  expect(body.includes('name="image"') && body.includes(RESULT)).toBe(true);
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Download", exact: true }).click();
  expect(readFileSync(await (await download).path()).equals(RESULT)).toBe(true);
  await expect.poll(() => mock.deleted).toEqual(["1"]);
  expect(told).toEqual([]); // the policy "default-src 'self'" forbade nothing
});

test("progress comes from the server; no time is told before it is known; cancelling deletes the job", async ({ page }) => {
  mock.outcome = "endless";
  await page.setInputFiles("input[type=file]", GIVEN);
  await page.getByRole("button", { name: "Enlarge" }).click();
  await expect(page.getByRole("progressbar")).toHaveAttribute("aria-valuenow", "75");
  await expect(page.locator(".left")).toHaveText("Working");
  await page.getByRole("button", { name: "Cancel" }).click();
  await expect(page.locator("[data-state=cancelled]")).toHaveCount(1);
  await expect.poll(() => mock.deleted).toEqual(["1"]);
});

test("a full queue is waited for; what is no picture is told in the words of the page, and not tried again", async ({ page }) => {
  mock.full = 1;
  mock.outcome = "failed";
  await page.setInputFiles("input[type=file]", GIVEN);
  await page.getByRole("button", { name: "Enlarge" }).click();
  await expect(page.locator(".left")).toHaveText("Waiting: the queue of the server is full");
  await expect(page.getByRole("alert")).toHaveText("The file is not a picture, or has a format that cannot be read.");
  expect(mock.sent).toHaveLength(1);
  await page.getByText("2×").click();
  await expect(page.getByRole("button", { name: /^Enlarge/ })).toBeHidden();
});

for (const [name, detail, button, option, loss] of [
  ["damaged-picture", "the picture is truncated or damaged: enlarge what there is with allow_truncated=true", "Use the readable part", "allow_truncated", null],
  ["format-loses", "jpeg cannot hold transparency: choose png, webp or tiff, or accept the loss with force=true", "Fill with white", "force", "transparency"],
] as const) {
  test(`a problem that an option mends has a button: ${name}`, async ({ page }) => {
    mock.outcome = "failed";
    mock.problem = { type: `/problems/${name}`, title: "Title", status: 422, detail, options: [`${option}=true`], loses: loss === null ? [] : [loss] };
    mock.unless = option;
    await page.setInputFiles("input[type=file]", [GIVEN, { ...GIVEN, name: "two.png" }]);
    await page.getByRole("button", { name: "Enlarge all 2" }).click();
    await expect(page.locator("[data-state=failed]")).toHaveCount(2);
    await expect(page.locator(".left")).toHaveText("2 failed");
    await expect(page.locator(".outcome")).not.toContainText("=");
    await checkAccessibility(page);
    await page.getByRole("button", { name: `${button} (2 pictures)` }).click();
    await expect(page.locator("[data-state=done]")).toHaveCount(2);
    expect(mock.sent.map(({ query }) => query.get(option))).toEqual([null, null, "true", "true"]);
    await expect(page.getByRole("button", { name: "Download", exact: true })).toBeFocused();
  });
}

test("a format that loses something can be left for PNG", async ({ page }) => {
  mock.outcome = "failed";
  mock.problem = { type: "/problems/format-loses", title: "Title", status: 422, detail: "jpeg cannot hold transparency: choose png (force=true)" };
  await page.setInputFiles("input[type=file]", GIVEN);
  await page.getByLabel("Format").selectOption("jpeg");
  await page.getByRole("button", { name: "Enlarge" }).click();
  await expect(page.locator("[data-state=failed]")).toHaveCount(1);
  mock.outcome = "endless";
  await page.getByRole("button", { name: "Save as PNG" }).click();
  await expect.poll(() => mock.sent.map(({ query }) => query.get("format"))).toEqual(["jpeg", "png"]);
});

test("notes of the server are shown; a result made with other settings says so, and is made again on request alone", async ({ page }) => {
  mock.notes = ["bmp has no place for EXIF: left out"];
  await page.setInputFiles("input[type=file]", [GIVEN, { ...GIVEN, name: "two.png" }]);
  await page.getByRole("button", { name: "Only this one" }).click();
  await expect(page.locator("[data-state=done]")).toHaveCount(1);
  await expect(page.locator(".outcome")).toContainText("BMP has no place for EXIF: left out.");
  await page.getByRole("button", { name: "Enlarge 1 more" }).click();
  await expect(page.locator("[data-state=done]")).toHaveCount(2);
  await page.getByText("2×").click();
  await expect(page.locator(".outcome")).toContainText("Made with other settings: 4×, same format.");
  expect(mock.sent).toHaveLength(2);
  await page.getByRole("button", { name: "Enlarge again" }).click();
  await expect(page.locator(".outcome")).not.toContainText("other settings");
  expect(mock.sent).toHaveLength(3);
  await page.getByRole("button", { name: "Enlarge the other one again" }).click();
  await expect.poll(() => mock.sent.length).toBe(4);
});

test("a choice is offered for the pictures that it helps", async ({ page }) => {
  mock.outcome = "failed";
  mock.problem = { type: "/problems/damaged-picture", title: "Title", status: 422, detail: "damaged" };
  await page.setInputFiles("input[type=file]", GIVEN);
  await page.getByRole("button", { name: "Enlarge" }).click();
  await expect(page.locator("[data-state=failed]")).toHaveCount(1);
  mock.problem = { ...mock.problem, options: ["allow_truncated=true"] };
  await page.setInputFiles("input[type=file]", [{ ...GIVEN, name: "two.png" }, { ...GIVEN, name: "three.png" }]);
  await page.getByRole("button", { name: "Enlarge 2" }).click();
  await expect(page.locator("[data-state=failed]")).toHaveCount(3);
  await expect(page.getByRole("button", { name: "Use the readable part (2 pictures)" })).toBeVisible();
});

test("the view stays with the picture that was chosen; a new picture is chosen", async ({ page }) => {
  const names = ["a.png", "b.png", "c.png"];
  await page.setInputFiles("input[type=file]", names.map((name) => ({ ...GIVEN, name })));
  await page.getByRole("button", { name: "b.png, waiting" }).click();
  await page.getByRole("button", { name: "Enlarge all 3" }).click();
  await expect(page.locator("[data-state=done]")).toHaveCount(3);
  await expect(page.locator(".name")).toHaveText("b.png");
  await page.setInputFiles("input[type=file]", { ...GIVEN, name: "d.png" });
  await expect(page.locator(".name")).toHaveText("d.png");
});

test("a result that the browser cannot show says so, with its own size", async ({ page }) => {
  mock.type = "image/tiff";
  await page.setInputFiles("input[type=file]", { ...GIVEN, name: "scan.tif", buffer: Buffer.from("II*\0") });
  await expect(page.getByText("This browser cannot show TIF files.")).toBeVisible();
  await page.getByRole("button", { name: "Enlarge" }).click();
  await expect(page.locator(".facts").first()).toHaveText(/^TIF, 4\sB → 192\s×\s192, TIFF, /);
});

test("numbers that are wrong say what is needed; kinds and scales that have no network are not offered", async ({ page }) => {
  await page.setInputFiles("input[type=file]", GIVEN);
  await page.getByText("Exact").click();
  await page.getByLabel("Pixels", { exact: true }).fill("0");
  await expect(page.getByText("Enter a whole number from 1 to 65,535.")).toBeVisible();
  await expect(page.getByRole("button", { name: "Enlarge" })).toBeDisabled();
  await page.getByLabel("Pixels", { exact: true }).fill("60000");
  await expect(page.getByRole("alert").filter({ hasText: "megapixels" })).toBeVisible();
  await page.getByText("3×").click();
  await expect(page.getByRole("option", { name: "Compressed JPEG (not with 3×)" })).toBeDisabled();
  await page.getByText("2×").click();
  await page.getByLabel("Kind of picture").selectOption("sd-robust");
  await expect(page.getByRole("radio", { name: "3×" })).toBeDisabled();
});

test("a picture that is too large to be drawn whole has all its pixels where one zooms in", async ({ page }) => {
  const [width, height] = [9000, 40];
  const bytes = await page.evaluate(async ([wide, high]) => {
    const canvas = new OffscreenCanvas(wide, high);
    const context = canvas.getContext("2d")!;
    for (let x = 0; x < wide; x++) {
      context.fillStyle = x % 2 ? "#fff" : "#000";
      context.fillRect(x, 0, 1, high);
    }
    return [...new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer())];
  }, [width, height] as const);
  await page.setInputFiles("input[type=file]", { ...GIVEN, buffer: Buffer.from(bytes) });
  const picture = page.getByRole("img", { name: /^Picture/ });
  await expect(page.locator(".zoom-text")).toHaveText("10 %");
  await picture.press("1");
  await expect(page.locator(".zoom-text")).toHaveText("100 %");
  const columns = (): Promise<number[]> =>
    picture.evaluate((canvas: HTMLCanvasElement) => {
      const { data } = canvas.getContext("2d")!.getImageData(canvas.width >> 1, canvas.height >> 1, 8, 1);
      return [...data.filter((_, k) => k % 4 === 0)].sort((a, b) => a - b);
    });
  await expect.poll(columns).toEqual([0, 0, 0, 0, 255, 255, 255, 255]);
});

test("the buttons are in sight in the window of a laptop", async ({ page }) => {
  await page.setViewportSize({ width: 1366, height: 650 });
  await page.setInputFiles("input[type=file]", GIVEN);
  await page.getByText("Exact").click();
  await page.getByLabel("Format").selectOption("jpeg");
  await expect(page.getByRole("button", { name: "Enlarge" })).toBeInViewport({ ratio: 1 });
  await page.getByRole("button", { name: "Enlarge" }).click();
  await expect(page.getByRole("button", { name: "Download", exact: true })).toBeInViewport({ ratio: 1 });
});

test("a file that is too large is not sent; one that the browser cannot show is", async ({ page }) => {
  await page.setInputFiles("input[type=file]", [
    { name: "large.tif", mimeType: "image/tiff", buffer: Buffer.alloc(1_000_001) },
    { name: "scan.tif", mimeType: "image/tiff", buffer: Buffer.from("II*\0") },
  ]);
  await expect(page.getByRole("alert")).toContainText("the server takes 1.0 MB at most");
  await page.getByRole("button", { name: "Enlarge 1" }).click();
  await expect(page.locator("[data-state=done]")).toHaveCount(1);
  expect(mock.sent).toHaveLength(1);
  await page.getByRole("button", { name: "scan.tif, done" }).click();
  await expect(page.getByText("This browser cannot show TIF files, so only the result is here.")).toBeVisible();
  await checkAccessibility(page);
});
