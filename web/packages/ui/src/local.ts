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
    return { models: models(), formats: ["png", "jpeg", "webp"], mostBytes: null, mostGiven: null, mostPixels: null, atOnce: 1 };
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
      return { blob, width: made.width, height: made.height, model: made.model, notes: [...(await notesOf(picture, wish)), ...made.notes] };
    } catch (error) {
      throw signal.aborted ? error : refusalOfError(error);
    }
  }
}

const KEEP_METADATA = /^image\/(jpeg|png|webp)$/;

/** What is lost of a file: browsers decode 8 bits a channel, and the package reads metadata of three formats. */
async function notesOf(file: File, { keepMetadata }: Wish): Promise<string[]> {
  const notes = [];
  if (await isDeepPng(file)) notes.push("The picture has 16 bits a channel; the result has 8.");
  if (keepMetadata && file.type !== "" && !KEEP_METADATA.test(file.type)) notes.push("Camera data and colour profile are kept of JPEG, PNG and WebP files only.");
  return notes;
}

/** Whether a file is a PNG with 16 bits a channel. */
async function isDeepPng(file: Blob): Promise<boolean> {
  const head = new Uint8Array(await file.slice(0, 25).arrayBuffer());
  return head[0] === 0x89 && head[1] === 0x50 && head[24] === 16;
}
