/** Builds the static site into site/dist: the page, the package in a2f/, and a service worker that keeps all of it. */
import { createHash } from "node:crypto";
import { cpSync, existsSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { build } from "rolldown";
import { type Plugin, defineConfig } from "vite";

const WEB = import.meta.dirname;
const PACKAGE = join(WEB, "packages/a2f-web/dist");

/** All files below a folder, as paths from it. */
function filesBelow(folder: string, from = folder): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? filesBelow(path, from) : [relative(from, path)];
    })
    .sort();
}

/** Not kept beforehand: types, and the engine for WebGPU, which is kept when it is first used. */
const LATER = /\.d\.ts$|LICENSE$|asyncify|webgpu|example|sw\.js$/;

function offline(): Plugin {
  return {
    name: "offline",
    apply: "build",
    async closeBundle() {
      const out = resolve(WEB, "site/dist");
      if (!existsSync(PACKAGE)) throw new Error("build the package first: npm run build:package");
      cpSync(join(WEB, "site/public"), out, { recursive: true });
      cpSync(PACKAGE, join(out, "a2f"), { recursive: true, filter: (path) => statSync(path).isDirectory() || !path.endsWith(".d.ts") });
      const files = filesBelow(out).filter((path) => !LATER.test(path));
      const hash = createHash("sha256");
      for (const path of files) hash.update(path).update(readFileSync(join(out, path)));
      const define = { FILES: JSON.stringify(["./", ...files.filter((f) => f !== "index.html")]), VERSION: JSON.stringify(hash.digest("hex").slice(0, 16)) };
      const { output } = await build({ input: join(WEB, "site/src/sw.ts"), transform: { define }, output: { minify: true, comments: false }, write: false });
      writeFileSync(join(out, "sw.js"), output[0].code);
    },
  };
}

export default defineConfig({
  root: join(WEB, "site"),
  base: "./",
  publicDir: join(WEB, "packages/ui/public"),
  plugins: [offline()],
  build: { target: "es2022", outDir: "dist", emptyOutDir: true, modulePreload: false, reportCompressedSize: false },
});
