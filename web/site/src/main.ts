/** The static site: pictures are enlarged in this browser. */
import "@a2f/ui/style.css";
import { startApp } from "@a2f/ui/app";
import { LocalBackend } from "@a2f/ui/local";

import { canBeIsolated, prepareOffline } from "./offline";

const foot = document.createElement("span");
const where = document.createElement("span");
foot.append(where, "No picture is sent anywhere. Results have 8 bits a channel: pictures with 16 bits are rounded.");
where.textContent = "Runs in this browser. ";

const backend = new LocalBackend(({ device, threads, inFile }) => {
  const engine = device === "webgpu" ? "WebGPU" : `WebAssembly, ${threads === 1 ? "on one core" : `on ${threads} cores`}`;
  const more = device === "wasm" && threads === 1 && canBeIsolated() ? ". Reload the page to use all cores" : "";
  const file = inFile ? " The picture is so large that the browser keeps part of the work in a file, which it deletes at the end." : "";
  where.textContent = `Runs in this browser with ${engine}${more}.${file} `;
});

prepareOffline();
void startApp(document.querySelector<HTMLElement>("#app")!, backend, {
  promise: "Edges stay sharp where zooming in blurs them. Pictures never leave your computer. Works offline after the first visit.",
  foot,
});
