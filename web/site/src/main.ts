/** The static site: pictures are enlarged in this browser. */
import "@a2f/ui/style.css";
import { startApp } from "@a2f/ui/app";
import { LocalBackend } from "@a2f/ui/local";

import { prepareOffline } from "./offline";

const foot = document.createElement("span");
foot.textContent = "Runs in this browser. No picture is sent anywhere. 8 bits a channel; 16-bit pictures are rounded.";

const backend = new LocalBackend(({ device, threads, inFile }) => {
  const where = device === "webgpu" ? "WebGPU" : `WebAssembly, ${threads === 1 ? "1 thread" : `${threads} threads`}`;
  foot.textContent = `Runs in this browser by ${where}${inFile ? ", with a temporary file" : ""}. No picture is sent anywhere.`;
});

prepareOffline();
void startApp(document.querySelector<HTMLElement>("#app")!, backend, {
  promise: "Sharper than zooming in, and private: pictures never leave your computer. Works offline after the first visit.",
  unseen: "This browser cannot open the file.",
  foot,
});
