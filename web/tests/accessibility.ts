/** The rules of axe: WCAG 2.2 A and AA, and good practice. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import { type Page, expect } from "@playwright/test";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

interface Found {
  readonly violations: readonly { readonly id: string; readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[] }[];
}

/** Hold what is on the page to the rules. */
export async function checkAccessibility(page: Page): Promise<void> {
  // A colour halfway through its transition is no colour of the page.
  await page.evaluate(() => Promise.allSettled(document.getAnimations().filter((a) => a instanceof CSSTransition).map((a) => a.finished)));
  // Through the debugger: the page's policy lets no foreign script in.
  const session = await page.context().newCDPSession(page);
  await session.send("Runtime.evaluate", { expression: AXE });
  const { result } = await session.send("Runtime.evaluate", { expression: "axe.run()", awaitPromise: true, returnByValue: true });
  await session.detach();
  const told = (result.value as Found).violations.map(({ id, nodes }) => `${id}: ${nodes[0].html} ${nodes[0].failureSummary}`);
  expect(told).toEqual([]);
}
