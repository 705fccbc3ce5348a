/** Builds the page of `a2f serve` into src/a2f/web/page, where it is committed: users need no Node. */
import { join } from "node:path";
import { defineConfig } from "vite";

const WEB = import.meta.dirname;

export default defineConfig({
  root: join(WEB, "serve"),
  base: "./",
  publicDir: join(WEB, "packages/ui/public"),
  build: {
    target: "es2022",
    outDir: process.env["PAGE_DIR"] ?? join(WEB, "../src/a2f/web/page"),
    emptyOutDir: true,
    modulePreload: false,
    reportCompressedSize: false,
    assetsInlineLimit: 0,
    rolldownOptions: { output: { entryFileNames: "page.js", assetFileNames: "page[extname]" } },
  },
});
