/** What is said about the chosen picture: name, size, what was made of it, and what could not be. */
import type { Abilities, Remedy, Wish } from "./backend";
import { el } from "./dom";
import { type Picture, keyOf } from "./queue";
import { wordsOf } from "./settings";
import { bytesText, formatName, pixelsText, suffixOf } from "./texts";
import { planScales, targetSize } from "../../a2f-web/src/sizes";

/** What a person can choose about a picture. */
export type Choice = Remedy | "redo";

const CHOICES: Readonly<Record<Choice, string>> = {
  redo: "Enlarge this one again",
  again: "Try again",
  "as-png": "Save as PNG",
  loss: "Accept the loss",
  white: "Fill with white",
  truncated: "Use the readable part",
};

interface Size {
  readonly width: number;
  readonly height: number;
}

export class Outcome {
  readonly root: HTMLElement;
  private readonly name = el("p", { className: "name" });
  private readonly facts = el("p", { className: "facts" });
  private readonly network = el("p", { className: "facts" });
  private readonly notes = el("ul", { className: "notes" });
  private readonly other = el("p", { className: "notes" });
  private readonly error = el("p", { className: "error", attrs: { role: "alert" } });
  private readonly choices = el("div", { className: "remedies" });
  private told = "";

  /** @param choose called when a person chooses something. */
  constructor(private readonly abilities: Abilities, private readonly choose: (which: Choice) => void) {
    this.root = el("div", { className: "outcome" }, this.name, this.facts, this.network, this.other, this.notes, this.error, this.choices);
  }

  /**
   * @param alike how many pictures failed for the same reason, and are helped by the same choice.
   * @param hasFresh whether there are pictures without a result, which come first.
   */
  show(picture: Picture | null, wish: Wish | null, alike: (which: Choice) => number, hasFresh: boolean): void {
    this.name.textContent = picture?.file.name ?? "";
    this.name.title = picture?.file.name ?? "";
    if (!picture) return;
    const { result } = picture;
    const failure = picture.failure && (picture.failure.isFinal || wish === null || picture.failure.key === keyOf(picture, wish)) ? picture.failure : null;
    const isOther = result !== null && wish !== null && result.key !== keyOf(picture, wish);
    this.facts.textContent = this.sizes(picture, wish);
    this.network.textContent = result ? this.networkOf(result.model) : "";
    this.other.textContent = isOther ? `Made with other settings: ${wordsOf(result.wish)}.` : "";
    this.showNotes(result?.notes ?? []);
    const obstacle = failure || picture.state === "running" ? "" : this.obstacle(picture, wish);
    const message = failure?.message ?? obstacle;
    if (this.error.textContent !== message) this.error.textContent = message;
    const redo: Choice[] = isOther && hasFresh && !failure ? ["redo"] : [];
    this.showChoices(picture.state === "running" ? [] : [...redo, ...(failure?.remedies ?? [])], alike);
  }

  private sizes({ before, result, file }: Picture, wish: Wish | null): string {
    const from = before ? sizeText(before) : [suffixOf(file.name), bytesText(file.size)].filter(Boolean).join(", ");
    if (result) return `${from} → ${sizeText(result)}, ${formatName(result.blob.type)}, ${bytesText(result.blob.size)}`;
    const target = before && wish ? targetOf(before, wish) : null;
    return target ? `${from}, becomes ${sizeText(target)}` : from;
  }

  private networkOf(model: string): string {
    if (model === "none") return "Resized without a network";
    const kinds = model.split(",").map((name) => this.abilities.models.find((one) => one.name === name)?.kind);
    const words = [...new Set(kinds)].map((kind) => (kind === "robust" ? "compressed JPEGs" : kind === "clean" ? "clean pictures" : null));
    return words.includes(null) ? `Network: ${model}` : `Network for ${words.join(", then for ")}`;
  }

  private showNotes(notes: readonly string[]): void {
    this.notes.hidden = notes.length === 0;
    this.notes.replaceChildren(...notes.map((note) => el("li", {}, note)));
  }

  /** Why the wish cannot be fulfilled, as far as the page knows. */
  private obstacle({ before, result }: Picture, wish: Wish | null): string {
    if (!before || !wish || result) return "";
    const target = targetOf(before, wish);
    const { maxPixels } = this.abilities;
    if (maxPixels !== null && target.width * target.height > maxPixels) {
      return `The result would have ${pixelsText(target.width * target.height)}. This server makes ${pixelsText(maxPixels)} at most.`;
    }
    const scales = this.abilities.models.filter(({ name }) => name === (wish.model === "auto" ? "sd" : wish.model)).map(({ scale }) => scale);
    try {
      planScales(before, target, scales);
      return "";
    } catch {
      const largest = Math.max(...scales) ** 2;
      return `The result would be too large: at most ${largest} times the picture, ${before.width * largest} × ${before.height * largest}.`;
    }
  }

  private showChoices(choices: readonly Choice[], alike: (which: Choice) => number): void {
    const several = (which: Choice): string => {
      const count = alike(which);
      return count > 1 && which !== "again" && which !== "redo" ? ` (${count} pictures)` : "";
    };
    const made = JSON.stringify(choices.map((which) => [which, several(which)]));
    if (made === this.told) return; // so that a button keeps the focus
    this.told = made;
    this.choices.hidden = choices.length === 0;
    this.choices.replaceChildren(
      ...choices.map((which) => el("button", { type: "button", className: "secondary small", on: { click: () => this.choose(which) } }, CHOICES[which] + several(which))),
    );
  }
}

/** The size of a result. */
export function targetOf(given: Size, wish: Wish): Size {
  if (wish.scale !== null) return { width: given.width * wish.scale, height: given.height * wish.scale };
  const { width, height, maxSide } = wish;
  return targetSize(given, { width: width ?? undefined, height: height ?? undefined, maxSide: maxSide ?? undefined });
}

function sizeText({ width, height }: Size): string {
  return `${width}\u00a0×\u00a0${height}`; // no line ends within a size
}
