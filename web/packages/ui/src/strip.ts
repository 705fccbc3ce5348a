/** The row of all pictures: small, with what becomes of each. */
import { ICONS, el, icon } from "./dom";
import type { Picture, State } from "./queue";
import { suffixOf } from "./texts";

const WORDS: Record<State, string> = {
  waiting: "waiting",
  running: "running",
  done: "done",
  failed: "failed",
  cancelled: "cancelled",
};
const SIDE = 128;

interface Card {
  readonly root: HTMLElement;
  readonly button: HTMLButtonElement;
  readonly state: HTMLElement;
}

export class Strip {
  readonly root = el("ul", { className: "strip", attrs: { "aria-label": "Pictures" } });
  private readonly cards = new Map<Picture, Card>();

  constructor(
    private readonly choose: (picture: Picture) => void,
    private readonly remove: (picture: Picture) => void,
  ) {}

  update(pictures: readonly Picture[], chosen: Picture | null): void {
    for (const [picture, card] of this.cards) {
      if (!pictures.includes(picture)) {
        card.root.remove();
        this.cards.delete(picture);
      }
    }
    for (const picture of pictures) this.updateCard(picture, picture === chosen);
  }

  /** Move the focus to the picture that is chosen. */
  focus(): void {
    this.root.querySelector<HTMLElement>('[aria-current="true"]')?.focus();
  }

  private updateCard(picture: Picture, chosen: boolean): void {
    let card = this.cards.get(picture);
    if (!card) {
      card = this.made(picture);
      this.cards.set(picture, card);
      this.root.append(card.root);
    }
    const { root, button, state } = card;
    if (chosen && button.getAttribute("aria-current") !== "true") root.scrollIntoView({ block: "nearest", inline: "nearest" });
    button.setAttribute("aria-current", String(chosen));
    button.setAttribute("aria-label", `${picture.file.name}, ${WORDS[picture.state]}`);
    root.dataset["state"] = picture.state;
    state.style.setProperty("--share", String(picture.share ?? 0));
    const shown = picture.state === "done" ? icon(...ICONS.done) : picture.state === "failed" ? icon(...ICONS.failed) : null;
    if (state.dataset["of"] !== picture.state) state.replaceChildren(...(shown ? [shown] : []));
    state.dataset["of"] = picture.state;
  }

  private made(picture: Picture): Card {
    const state = el("span", { className: "badge", attrs: { "aria-hidden": "true" } });
    const thumb = thumbnail(picture);
    const button = el("button", { type: "button", className: "thumb", title: picture.file.name, on: { click: () => this.choose(picture) } }, thumb, state);
    button.addEventListener("keydown", (event) => {
      if (event.key === "Delete" || event.key === "Backspace") this.remove(picture);
      const to = event.key === "ArrowRight" ? root.nextElementSibling : event.key === "ArrowLeft" ? root.previousElementSibling : null;
      to?.querySelector<HTMLElement>(".thumb")?.focus();
    });
    const remove = el(
      "button",
      { type: "button", className: "remove", title: "Remove", attrs: { "aria-label": `Remove ${picture.file.name}` }, on: { click: () => this.remove(picture) } },
      icon(...ICONS.close),
    );
    const root = el("li", {}, button, remove);
    return { root, button, state };
  }
}

function thumbnail({ before, file }: Picture): Element {
  if (!before) return el("span", { className: "thumb-file" }, icon(...ICONS.picture), suffixOf(file.name));
  const canvas = el("canvas", { width: SIDE, height: SIDE });
  const scale = SIDE / Math.min(before.width, before.height);
  const [w, h] = [before.width * scale, before.height * scale];
  const context = canvas.getContext("2d")!;
  context.imageSmoothingQuality = "high";
  context.drawImage(before.bitmap, (SIDE - w) / 2, (SIDE - h) / 2, w, h);
  return canvas;
}
