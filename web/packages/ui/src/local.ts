/** The back end in this browser: the package a2f-web, loaded from the folder a2f/ beside the page. */
import type { Format, RunInfo } from "a2f-web";

import type { Abilities, Allowed, Backend, Enlarged, Status, Wish } from "./backend";
import { refusalOfError } from "./problems";

type Package = typeof import("a2f-web");

export class LocalBackend implements Backend {
  private readonly loaded: Promise<Package> = import(/* @vite-ignore */ new URL("a2f/index.js", document.baseURI).href) as Promise<Package>;

  /** @param told called once work begins: what runs where. */
  constructor(private readonly told: (info: RunInfo) => void) {}

  async abilities(): Promise<Abilities> {
    const { models } = await this.loaded;
    return { models: models(), formats: ["png", "jpeg", "webp"], maxBytes: null, maxGiven: null, maxPixels: null, atOnce: 1 };
  }

  /** That a file is damaged makes no difference here: the browser takes what it can read. */
  async enlarge(picture: File, wish: Wish, allowed: Allowed, signal: AbortSignal, tell: (status: Status) => void): Promise<Enlarged> {
    const { upscale } = await this.loaded;
    tell({ share: null, note: "Loading the network" });
    const size: { width?: number; height?: number; maxSide?: number } = {};
    if (wish.width !== null) size.width = wish.width;
    if (wish.height !== null) size.height = wish.height;
    if (wish.maxSide !== null) size.maxSide = wish.maxSide;
    let made: Pick<RunInfo, "width" | "height" | "model" | "notes"> = { width: 0, height: 0, model: "none", notes: [] };
    try {
      const blob = await upscale(picture, {
        ...(wish.scale === null ? { size } : { scale: wish.scale }),
        model: wish.model,
        format: wish.format === null ? "auto" : (`image/${wish.format}` as Format),
        quality: wish.quality,
        force: allowed.loss,
        metadata: wish.keepMetadata ? "all" : "profile",
        signal,
        onStart: (info) => {
          made = info;
          this.told(info);
        },
        onProgress: (share) => tell({ share, note: "" }),
      });
      return { blob, width: made.width, height: made.height, model: made.model, notes: [...made.notes, ...notesOf(picture, wish)] };
    } catch (error) {
      throw signal.aborted ? error : refusalOfError(error);
    }
  }
}

/** The package reads metadata of three formats; GIF has none that matters. */
const KEPT_WHOLE = /^(image\/(jpeg|png|webp|gif)|)$/;

function notesOf({ type }: File, { keepMetadata }: Wish): string[] {
  return keepMetadata && !KEPT_WHOLE.test(type) ? ["Camera data and colour profile are kept of JPEG, PNG and WebP files only."] : [];
}
