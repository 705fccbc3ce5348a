/** The choices: size, kind of picture, format, quality, metadata. */
import type { Abilities, ModelInfo, Wish } from "./backend";
import { el } from "./dom";
import { formatName } from "./texts";

type SizeKind = "scale" | "width" | "height" | "maxSide" | "exact";

const MODEL_NAMES: Record<string, string> = {
  auto: "Detect automatically",
  sd: "Clean picture",
  "sd-robust": "Compressed JPEG",
};
const LOSSY = new Set(["jpeg", "webp", "avif"]);
const QUALITY: Record<string, number> = { jpeg: 92, webp: 90, avif: 80 };
const MAX_PX = 65535;

export class Settings {
  readonly root: HTMLElement;
  private readonly scales: HTMLInputElement[];
  private readonly kind: HTMLSelectElement;
  private readonly first: HTMLInputElement;
  private readonly second: HTMLInputElement;
  private readonly exact: HTMLElement;
  private readonly wrong = el("p", { className: "wrong", id: "size-wrong", hidden: true, attrs: { role: "alert" } });
  private readonly model: HTMLSelectElement;
  private readonly format: HTMLSelectElement;
  private readonly quality: HTMLInputElement;
  private readonly qualityRow: HTMLElement;
  private readonly keep: HTMLInputElement;
  private readonly models: readonly ModelInfo[];

  /** @param changed called after each choice. */
  constructor(abilities: Abilities, changed: () => void) {
    this.models = abilities.models;
    const scales = [...new Set(abilities.models.map(({ scale }) => scale))].sort((a, b) => a - b);
    this.scales = [...scales.map(String), "size"].map((value) =>
      el("input", { type: "radio", name: "scale", value, checked: value === String(scales.at(-1)) }),
    );
    this.kind = select("size-kind", { width: "Width", height: "Height", maxSide: "Longest side", exact: "Width and height" });
    this.first = pixels("Pixels", "1920");
    this.second = pixels("Height in pixels", "1080");
    this.exact = el("div", { className: "exact" }, label("Which side", this.kind, true), el("div", { className: "sides" }, this.first, el("span", { className: "times" }, "×"), this.second, el("span", { className: "unit" }, "px")), this.wrong);
    const names = [...new Set(["auto", ...abilities.models.map(({ name }) => name)])];
    this.model = select("model", Object.fromEntries(names.map((name) => [name, MODEL_NAMES[name] ?? name])));
    this.format = select("format", {
      "": "Same as the picture",
      ...Object.fromEntries(abilities.formats.map((name) => [name, formatName(name)])),
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
      label("Kind of picture", this.model),
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
    const format = this.format.value || null;
    const common = {
      model: this.model.value,
      format,
      quality: format !== null && LOSSY.has(format) ? Number(this.quality.value) : QUALITY["jpeg"],
      keepMetadata: this.keep.checked,
    };
    const none = { scale: null, width: null, height: null, maxSide: null };
    if (chosen !== "size") return { ...common, ...none, scale: Number(chosen) };
    const [a, b] = [this.first, this.second].map((input) => (isNumber(input) ? Number(input.value) : null));
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
    this.showWrong([this.first, ...(both ? [this.second] : [])].filter((input) => !isNumber(input)));
    this.showPossible();
  }

  /** Say which numbers are needed. */
  private showWrong(wrong: readonly HTMLInputElement[]): void {
    for (const input of [this.first, this.second]) input.setAttribute("aria-invalid", String(wrong.includes(input)));
    const isWrong = wrong.length > 0 && !this.exact.hidden;
    if (this.wrong.hidden === !isWrong) return;
    this.wrong.hidden = !isWrong;
    this.wrong.textContent = isWrong ? `Enter a whole number from 1 to ${MAX_PX.toLocaleString("en")}.` : "";
  }

  /** A kind of picture and a scale that have no network together are not offered together. */
  private showPossible(): void {
    const has = (name: string, scale: string): boolean =>
      name === "auto" || scale === "size" || this.models.some((model) => model.name === name && model.scale === Number(scale));
    const scale = this.scales.find((input) => input.checked)!.value;
    for (const option of this.model.options) {
      option.disabled = !has(option.value, scale);
      const name = MODEL_NAMES[option.value] ?? option.value;
      option.textContent = option.disabled ? `${name} (not with ${scale}×)` : name;
    }
    for (const input of this.scales) {
      input.disabled = !has(this.model.value, input.value);
      input.parentElement!.title = input.disabled ? `${input.value}× has no network for this kind of picture` : "";
    }
  }
}

/** What a wish says about the size, for a file's name. */
export function markOf(wish: Wish, width: number, height: number): string {
  return wish.scale === null ? `${width}x${height}` : `x${wish.scale}`;
}

/** A wish in a few words: "4×, JPEG". */
export function wordsOf(wish: Wish): string {
  const [side, value] = wish.width !== null ? ["width", wish.width] : wish.height !== null ? ["height", wish.height] : ["longest side", wish.maxSide];
  const size = wish.width !== null && wish.height !== null ? `${wish.width} × ${wish.height}` : `${side} ${value}`;
  const format = wish.format === null ? "same format" : formatName(wish.format) + (LOSSY.has(wish.format) ? ` of quality ${wish.quality}` : "");
  return [
    wish.scale === null ? size : `${wish.scale}×`,
    format,
    ...(wish.model === "auto" ? [] : [(MODEL_NAMES[wish.model] ?? wish.model).replace(/^C/, "c")]),
    ...(wish.keepMetadata ? [] : ["no camera data"]),
  ].join(", ");
}

function isNumber(input: HTMLInputElement): boolean {
  return input.value !== "" && input.validity.valid;
}

function select(id: string, options: Record<string, string>): HTMLSelectElement {
  return el("select", { id }, ...Object.entries(options).map(([value, text]) => el("option", { value }, text)));
}

function label(text: string, field: HTMLElement, hidden = false): HTMLElement {
  const name = el("label", { htmlFor: field.id, className: hidden ? "visually-hidden" : "" }, text);
  return el("div", { className: "field" }, name, field);
}

function pixels(name: string, value: string): HTMLInputElement {
  return el("input", { type: "number", min: "1", max: String(MAX_PX), step: "1", value, attrs: { "aria-label": name, inputmode: "numeric", "aria-describedby": "size-wrong" } });
}
