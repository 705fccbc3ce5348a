/** The page: what a person sees and does. */
import type { Abilities, Backend } from "./backend";
import { ICONS, el, icon } from "./dom";
import { acceptEverywhere, chooser } from "./incoming";
import { type Picture, Queue } from "./queue";
import { saveAll, saveOne } from "./save";
import { Settings } from "./settings";
import { Strip } from "./strip";
import { bytesText, pictures, timeLeft } from "./texts";
import { Viewer } from "./viewer";

/** What differs between the site and the page of a server. */
export interface Words {
  /** Under the title: where the work is done. */
  readonly promise: string;
  /** In the place of a file that cannot be shown. */
  readonly unseen: string;
  /** A line at the end of the panel. */
  readonly foot: Node | string;
}

/** Build the page. */
export async function startApp(root: HTMLElement, backend: Backend, words: Words): Promise<void> {
  const abilities = await backend.abilities().catch((error: unknown) => {
    root.replaceChildren(el("p", { className: "fatal", attrs: { role: "alert" } }, error instanceof Error ? error.message : String(error)));
    return null;
  });
  if (abilities) new App(root, backend, abilities, words);
}

class App {
  private readonly queue: Queue;
  private readonly viewer = new Viewer();
  private readonly settings: Settings;
  private readonly strip: Strip;
  private readonly live = el("p", { className: "visually-hidden", attrs: { role: "status", "aria-live": "polite" } });
  private readonly facts = el("p", { className: "facts" });
  private readonly error = el("p", { className: "error", attrs: { role: "alert" } });
  private readonly bar = el("div", { className: "bar", attrs: { role: "progressbar", "aria-label": "Progress", "aria-valuemin": "0", "aria-valuemax": "100" } }, el("span"));
  private readonly left = el("p", { className: "left" });
  private readonly go = el("button", { type: "button", className: "primary" });
  private readonly save = el("button", { type: "button", className: "primary save" }, icon(...ICONS.download), "Download");
  private readonly all = el("button", { type: "button", className: "secondary" });
  private readonly files: { root: HTMLElement; open: () => void };
  private chosen: Picture | null = null;
  private shown: { picture: Picture | null; result: unknown } = { picture: null, result: null };
  private said = "";

  constructor(private readonly root: HTMLElement, backend: Backend, abilities: Abilities, private readonly words: Words) {
    this.queue = new Queue(backend, abilities.mostBytes, (picture) => this.changed(picture));
    this.settings = new Settings(abilities, () => this.render());
    this.strip = new Strip((picture) => this.choose(picture), (picture) => this.removed(picture));
    const take = (files: File[]): void => void this.take(files);
    this.files = chooser(take);
    acceptEverywhere(document.body, take);
    this.go.addEventListener("click", () => this.start());
    this.save.addEventListener("click", () => this.chosen?.result && saveOne(this.chosen));
    this.all.addEventListener("click", () => void saveAll(this.queue.pictures));
    root.replaceChildren(this.header(), this.landing(), this.work(), this.files.root, this.live, el("div", { className: "drop-here", attrs: { "aria-hidden": "true" } }, "Drop pictures here"));
    this.render();
  }

  private header(): HTMLElement {
    const add = el("button", { type: "button", className: "quiet add", on: { click: () => this.files.open() } }, icon(...ICONS.add), "Add pictures");
    return el("header", {}, el("h1", {}, "a2f", el("span", {}, "Enlarge pictures")), add);
  }

  /** What is there before any picture is. */
  private landing(): HTMLElement {
    const example = new Viewer(false);
    void Promise.all(["before.webp", "after.webp"].map(loaded)).then(([before, after]) => example.show({ before, after }));
    return el(
      "main",
      { className: "landing" },
      el(
        "div",
        { className: "invite" },
        el("h2", {}, "Make pictures larger."),
        el("p", { className: "lead" }, this.words.promise),
        el("button", { type: "button", className: "primary choose", on: { click: () => this.files.open() } }, icon(...ICONS.picture), "Choose pictures"),
        el("p", { className: "hint" }, "or drop them here, or paste one"),
      ),
      el("div", { className: "example" }, example.root),
    );
  }

  private work(): HTMLElement {
    const panel = el(
      "section",
      { className: "panel", attrs: { "aria-label": "Settings and result" } },
      this.settings.root,
      el("div", { className: "actions" }, this.facts, this.error, this.bar, this.left, this.go, this.save, this.all),
      el("p", { className: "foot" }, this.words.foot),
    );
    return el("main", { className: "work" }, this.viewer.root, this.strip.root, panel);
  }

  private async take(files: File[]): Promise<void> {
    if (files.length === 0) return this.say("There is no picture in it.");
    for (const file of files) {
      const picture = await this.queue.add(file);
      if (!this.chosen) this.choose(picture);
    }
    this.say(`${pictures(files.length)} added`);
    if (document.activeElement === document.body || document.activeElement?.closest(".landing")) this.go.focus();
  }

  private start(): void {
    if (this.queue.isRunning) return this.queue.cancel();
    const wish = this.settings.wish();
    if (!wish) return;
    void this.queue.run(wish);
    this.render();
  }

  private choose(picture: Picture): void {
    this.chosen = picture;
    this.render();
  }

  private removed(picture: Picture): void {
    const at = this.queue.pictures.indexOf(picture);
    if (picture === this.chosen) this.chosen = this.queue.pictures[at + 1] ?? this.queue.pictures[at - 1] ?? null;
    this.queue.remove(picture);
    this.say(`${picture.file.name} removed`);
    this.strip.root.querySelector<HTMLElement>('[aria-current="true"]')?.focus();
  }

  private changed(picture: Picture | null): void {
    if (picture?.state === "running" && picture.share === null) {
      const watched = this.chosen === null || this.chosen.state !== "running";
      if (watched && this.said !== `r${picture.id}`) this.chosen = picture;
      if (this.said !== `r${picture.id}`) this.say(`Enlarging ${picture.file.name}`);
      this.said = `r${picture.id}`;
    } else if (picture && picture.state !== "running" && this.said === `r${picture.id}`) {
      this.said = "";
      this.say(`${picture.file.name}: ${picture.state}. ${picture.error}`);
    }
    this.render();
  }

  private say(text: string): void {
    this.live.textContent = text;
  }

  private render(): void {
    const { pictures: given, isRunning } = this.queue;
    this.root.dataset["empty"] = String(given.length === 0);
    if (this.chosen && !given.includes(this.chosen)) this.chosen = given[0] ?? null;
    this.strip.update(given, this.chosen);
    this.showChosen();
    this.showActions(isRunning);
  }

  private showChosen(): void {
    const { chosen: picture, shown } = this;
    const result = picture?.result?.bitmap ?? null;
    if (shown.picture !== picture || shown.result !== result) {
      const same = shown.picture === picture;
      this.viewer.show(picture?.before ? { before: picture.before, after: result } : null, same);
      this.shown = { picture, result };
    }
    const unseen = picture !== null && !picture.before;
    this.viewer.say(unseen ? `${this.words.unseen}${picture.state === "done" ? " The result can be downloaded." : ""}` : "");
    const from = picture?.before ? `${picture.before.width} × ${picture.before.height}` : picture?.file.name ?? "";
    const to = result ? ` → ${result.width} × ${result.height}` : "";
    const size = picture?.result ? `, ${bytesText(picture.result.blob.size)}` : "";
    this.facts.textContent = `${from}${to}${size}`;
    this.error.textContent = picture?.error ?? "";
  }

  private showActions(isRunning: boolean): void {
    const wish = this.settings.wish();
    const pending = wish ? this.queue.pending(wish) : this.queue.pictures;
    const running = this.queue.pictures.find(({ state }) => state === "running");
    const several = this.queue.pictures.length > 1;
    this.go.hidden = !isRunning && pending.length === 0;
    this.go.disabled = !isRunning && wish === null;
    this.go.classList.toggle("cancel", isRunning);
    this.go.textContent = isRunning ? "Cancel" : several ? `Enlarge ${pictures(pending.length)}` : "Enlarge";
    this.bar.hidden = this.left.hidden = !isRunning;
    const share = running?.share ?? 0;
    this.bar.setAttribute("aria-valuenow", String(Math.round(share * 100)));
    this.bar.style.setProperty("--share", String(share));
    this.bar.classList.toggle("unknown", running?.share == null);
    const which = several && running ? `${running.file.name}: ` : "";
    this.left.textContent = which + (running?.note || (running?.secondsLeft == null ? "Starting" : timeLeft(running.secondsLeft)));
    this.save.hidden = !this.chosen?.result;
    this.save.classList.toggle("secondary", isRunning || pending.includes(this.chosen!));
    const done = this.queue.pictures.filter(({ result }) => result).length;
    this.all.hidden = done < 2;
    this.all.textContent = `Download all ${done}`;
  }
}

async function loaded(name: string): Promise<ImageBitmap> {
  return createImageBitmap(await (await fetch(name)).blob());
}
