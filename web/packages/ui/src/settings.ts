/** The choices: size, model, format, quality, metadata. */
import type { Abilities, Wish } from "./backend";
import { el } from "./dom";

type SizeKind = "scale" | "width" | "height" | "maxSide" | "exact";

const MODEL_NAMES: Record<string, string> = {
  auto: "Automatic",
  sd: "Clean pictures",
  "sd-robust": "Compressed JPEG pictures",
};
const LOSSY = new Set(["jpeg", "webp", "avif"]);
const QUALITY: Record<string, number> = { jpeg: 92, webp: 90, avif: 80 };

export class Settings {
  readonly root: HTMLElement;
  private readonly scales: HTMLInputElement[];
  private readonly kind: HTMLSelectElement;
  private readonly first: HTMLInputElement;
  private readonly second: HTMLInputElement;
  private readonly exact: HTMLElement;
  private readonly model: HTMLSelectElement;
  private readonly format: HTMLSelectElement;
  private readonly quality: HTMLInputElement;
  private readonly qualityRow: HTMLElement;
  private readonly keep: HTMLInputElement;

  /** @param changed called after each choice. */
  constructor(abilities: Abilities, changed: () => void) {
    const scales = [...new Set(abilities.models.map(({ scale }) => scale))].sort((a, b) => a - b);
    this.scales = [...scales.map(String), "size"].map((value) =>
      el("input", { type: "radio", name: "scale", value, checked: value === String(scales.at(-1)) }),
    );
    this.kind = select("size-kind", { width: "Width", height: "Height", maxSide: "Longest side", exact: "Width and height" });
    this.first = pixels("Pixels", "1920");
    this.second = pixels("Height in pixels", "1080");
    this.exact = el("div", { className: "exact" }, label("Which side", this.kind, true), el("div", { className: "sides" }, this.first, el("span", { className: "times" }, "×"), this.second, el("span", { className: "unit" }, "px")));
    const names = [...new Set(["auto", ...abilities.models.map(({ name }) => name)])];
    this.model = select("model", Object.fromEntries(names.map((name) => [name, MODEL_NAMES[name] ?? name])));
    this.format = select("format", {
      "": "Same as the picture",
      ...Object.fromEntries(abilities.formats.map((name) => [name, name === "webp" ? "WebP" : name.toUpperCase()])),
    });
    this.quality = el("input", { type: "range", id: "quality", min: "1", max: "100", value: "92" });
    const shown = el("output", { attrs: { for: "quality" } }, "92");
    this.qualityRow = el("div", { className: "field" }, el("div", { className: "row" }, el("label", { htmlFor: "quality" }, "Quality"), shown), this.quality);
    this.keep = el("input", { type: "checkbox", checked: true });
    this.root = el(
      "form",
      { className: "settings", attrs: { "aria-label": "Settings" }, on: { submit: (event: Event) => event.preventDefault() } },
      el(
        "fieldset",
        { className: "field" },
        el("legend", {}, "Size"),
        el("div", { className: "segments" }, ...this.scales.map((input) => el("label", {}, input, el("span", {}, input.value === "size" ? "Exact" : `${input.value}×`)))),
        this.exact,
      ),
      label("Best for", this.model),
      label("Format", this.format),
      this.qualityRow,
      el("label", { className: "check" }, this.keep, el("span", {}, "Keep camera data and colour profile")),
    );
    this.root.addEventListener("input", (event) => {
      if (event.target === this.format && LOSSY.has(this.format.value)) this.quality.value = String(QUALITY[this.format.value]);
      shown.value = this.quality.value;
      this.showFields();
      changed();
    });
    this.showFields();
  }

  /** What is chosen; null where a size is missing. */
  wish(): Wish | null {
    const chosen = this.scales.find((input) => input.checked)!.value;
    const common = {
      model: this.model.value,
      format: this.format.value || null,
      quality: Number(this.quality.value),
      keepMetadata: this.keep.checked,
    };
    const none = { scale: null, width: null, height: null, maxSide: null };
    if (chosen !== "size") return { ...common, ...none, scale: Number(chosen) };
    const [a, b] = [this.first, this.second].map((input) => (input.value !== "" && input.validity.valid ? Number(input.value) : null));
    if (this.sizeKind() === "exact") return a && b ? { ...common, ...none, width: a, height: b } : null;
    return a ? { ...common, ...none, [this.sizeKind()]: a } : null;
  }

  private sizeKind(): SizeKind {
    return this.kind.value as SizeKind;
  }

  private showFields(): void {
    const both = this.sizeKind() === "exact";
    this.exact.hidden = !this.scales.at(-1)!.checked;
    this.second.hidden = !both;
    this.exact.querySelector<HTMLElement>(".times")!.hidden = !both;
    this.first.setAttribute("aria-label", both ? "Width in pixels" : "Pixels");
    this.qualityRow.hidden = !LOSSY.has(this.format.value);
  }
}

/** What a wish says about the size, for a file's name. */
export function markOf(wish: Wish, width: number, height: number): string {
  return wish.scale === null ? `${width}x${height}` : `x${wish.scale}`;
}

function select(id: string, options: Record<string, string>): HTMLSelectElement {
  return el("select", { id }, ...Object.entries(options).map(([value, text]) => el("option", { value }, text)));
}

function label(text: string, field: HTMLElement, hidden = false): HTMLElement {
  const name = el("label", { htmlFor: field.id, className: hidden ? "visually-hidden" : "" }, text);
  return el("div", { className: "field" }, name, field);
}

function pixels(name: string, value: string): HTMLInputElement {
  return el("input", { type: "number", min: "1", max: "65535", step: "1", value, attrs: { "aria-label": name, inputmode: "numeric" } });
}
