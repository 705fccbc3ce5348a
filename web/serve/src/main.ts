/** The page of `a2f serve`: pictures are enlarged by the server. */
import "@a2f/ui/style.css";
import { startApp } from "@a2f/ui/app";
import { RemoteBackend } from "@a2f/ui/remote";

const foot = document.createElement("span");
const docs = document.createElement("a");
docs.href = "docs";
docs.textContent = "Interface for programs";
foot.append("Pictures are enlarged by this server, which forgets them afterwards. ", docs);

void startApp(document.querySelector<HTMLElement>("#app")!, new RemoteBackend(), {
  promise: "Edges stay sharp where zooming in blurs them. Colour profile, camera data, transparency and 16 bits are kept.",
  foot,
});
