/** Where things lie, and servers for tests. */
import { existsSync } from "node:fs";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join, resolve } from "node:path";

export const WEB = resolve(import.meta.dirname, "..");
export const ROOT = resolve(WEB, "..");
export const PACKAGE = join(WEB, "packages/a2f-web/dist");
export const SITE = join(WEB, "site/dist");
export const PAGE = join(ROOT, "src/a2f/web/page");
export const PHOTO = join(ROOT, "examples/photos/astronaut.png");

const venv = join(ROOT, ".venv/bin/python");
export const PYTHON = process.env["PYTHON"] ?? (existsSync(venv) ? venv : "python3");

/** Listen on a free port of this machine; gives the address. */
export async function listen(server: Server): Promise<string> {
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
