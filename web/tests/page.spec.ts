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
  await page.getByRole("button", { name: "Enlarge" }).click();
  await expect(page.locator("[data-state=done]")).toHaveCount(1);
  const { query, body } = mock.sent[0];
  expect(Object.fromEntries(query)).toEqual({ model: "auto", size: "800x600", format: "avif", quality: "80", strip: "true" });
  expect(body.includes('name="image"') && body.includes(RESULT)).toBe(true);
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Download", exact: true }).click();
  expect(readFileSync(await (await download).path()).equals(RESULT)).toBe(true);
  await expect.poll(() => mock.deleted).toEqual(["1"]);
  expect(told).toEqual([]); // the policy "default-src 'self'" forbade nothing
});

test("progress and time left come from the server; cancelling deletes the job", async ({ page }) => {
  mock.outcome = "endless";
  await page.setInputFiles("input[type=file]", GIVEN);
  await page.getByRole("button", { name: "Enlarge" }).click();
  await expect(page.getByRole("progressbar")).toHaveAttribute("aria-valuenow", "75");
  await expect(page.locator(".left")).toHaveText("about 42 s left");
  await page.getByRole("button", { name: "Cancel" }).click();
  await expect(page.locator("[data-state=cancelled]")).toHaveCount(1);
  await expect.poll(() => mock.deleted).toEqual(["1"]);
});

test("a full queue is waited for; errors of the server are told in its words", async ({ page }) => {
  mock.full = 1;
  mock.outcome = "failed";
  await page.setInputFiles("input[type=file]", GIVEN);
  await page.getByRole("button", { name: "Enlarge" }).click();
  await expect(page.locator(".left")).toHaveText("Waiting: the queue is full");
  await expect(page.getByRole("alert")).toHaveText("The picture cannot be read: cut off");
  expect(mock.sent).toHaveLength(1);
});

test("a file that is too large is not sent; one that the browser cannot show is", async ({ page }) => {
  await page.setInputFiles("input[type=file]", [
    { name: "large.tif", mimeType: "image/tiff", buffer: Buffer.alloc(1_000_001) },
    { name: "scan.tif", mimeType: "image/tiff", buffer: Buffer.from("II*\0") },
  ]);
  await expect(page.getByRole("alert")).toContainText("the server takes 1.0 MB at most");
  await page.getByRole("button", { name: "Enlarge 1 picture" }).click();
  await expect(page.locator("[data-state=done]")).toHaveCount(1);
  expect(mock.sent).toHaveLength(1);
  await page.getByRole("button", { name: "scan.tif, done" }).click();
  await expect(page.getByText("The result can be downloaded.")).toBeVisible();
  await checkAccessibility(page);
});
