/** The back end in this browser: the package a2f-web, loaded from the folder a2f/ beside the page. */
import type { Format, RunInfo } from "a2f-web";

import type { Abilities, Backend, Status, Wish } from "./backend";

type Package = typeof import("a2f-web");

export class LocalBackend implements Backend {
  private readonly loaded: Promise<Package> = import(/* @vite-ignore */ new URL("a2f/index.js", document.baseURI).href) as Promise<Package>;

  /** @param told called once work begins: what runs where. */
  constructor(private readonly told: (info: RunInfo) => void) {}

  async abilities(): Promise<Abilities> {
    const { models } = await this.loaded;
    return { models: models(), formats: ["png", "jpeg", "webp"], mostBytes: null };
  }

  async enlarge(picture: File, wish: Wish, signal: AbortSignal, tell: (status: Status) => void): Promise<Blob> {
    const { upscale } = await this.loaded;
    tell({ share: null, secondsLeft: null, note: "Loading the network" });
    const size: { width?: number; height?: number; maxSide?: number } = {};
    if (wish.width !== null) size.width = wish.width;
    if (wish.height !== null) size.height = wish.height;
    if (wish.maxSide !== null) size.maxSide = wish.maxSide;
    return upscale(picture, {
      ...(wish.scale === null ? { size } : { scale: wish.scale }),
      model: wish.model,
      format: wish.format === null ? "auto" : (`image/${wish.format}` as Format),
      quality: wish.quality,
      metadata: wish.keepMetadata ? "all" : "profile",
      signal,
      onStart: (info) => this.told(info),
      onProgress: (share) => tell({ share, secondsLeft: null, note: "" }),
    });
  }
}
