/** The page: what a person sees and does. */
import type { Abilities, Backend, Wish } from "./backend";
import { ICONS, el, icon } from "./dom";
import { acceptEverywhere, chooser } from "./incoming";
import { type Choice, Outcome } from "./outcome";
import { type Picture, Queue, type Run } from "./queue";
import { saveAll, saveOne } from "./save";
import { Settings } from "./settings";
import { type Shown, whole } from "./shown";
import { Strip } from "./strip";
import { formatName, pictures, suffixOf, timeLeft } from "./texts";
import { Viewer } from "./viewer";

/** What differs between the site and the page of a server. */
export interface Words {
  /** Under the title: where the work is done. */
  readonly promise: string;
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
  private readonly outcome: Outcome;
  private readonly live = el("p", { className: "visually-hidden", attrs: { role: "status", "aria-live": "polite" } });
  private readonly bar = el("div", { className: "bar", attrs: { role: "progressbar", "aria-label": "Progress", "aria-valuemin": "0", "aria-valuemax": "100" } }, el("span"));
  private readonly left = el("p", { className: "left" });
  private readonly go = button("primary", () => this.start());
  private readonly only = button("secondary", () => this.start(this.chosen ? [this.chosen] : []), "Only this one");
  private readonly again = button("secondary", () => this.start(this.queue.outdated(this.settings.wish()!)));
  private readonly save = button("primary save", () => void (this.chosen?.result && saveOne(this.chosen)));
  private readonly all = button("secondary", () => void saveAll(this.queue.pictures));
  private readonly files: { root: HTMLElement; open: () => void };
  private chosen: Picture | null = null;
  private shown: { picture: Picture | null; result: unknown } = { picture: null, result: null };
  /** What became of the last run. */
  private summary = "";
  private ended = 0;

  constructor(private readonly root: HTMLElement, backend: Backend, abilities: Abilities, private readonly words: Words) {
    this.queue = new Queue(backend, abilities, (picture) => this.changed(picture));
    this.settings = new Settings(abilities, () => this.settled());
    this.outcome = new Outcome(abilities, (which) => this.mend(which));
    this.strip = new Strip((picture) => this.choose(picture), (picture) => this.removed(picture));
    const take = (files: File[]): void => void this.take(files);
    this.files = chooser(take);
    acceptEverywhere(document.body, take);
    this.save.append(icon(...ICONS.download), "Download");
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
      { className: "panel", attrs: { "aria-label": "Picture and settings" } },
      this.outcome.root,
      el("div", { className: "choices" }, this.settings.root, el("p", { className: "foot" }, this.words.foot)),
      el(
        "div",
        { className: "dock" },
        this.bar,
        this.left,
        el("div", { className: "buttons" }, this.go, this.again),
        el("div", { className: "buttons" }, this.only, this.save, this.all),
      ),
    );
    return el("main", { className: "work" }, this.viewer.root, this.strip.root, panel);
  }

  private async take(files: File[]): Promise<void> {
    if (files.length === 0) return this.say("There is no picture in it.");
    const added: Picture[] = [];
    for (const file of files) {
      added.push(await this.queue.add(file));
      if (added.length === 1) this.choose(added[0]);
    }
    this.say(`${pictures(files.length)} added`);
    if (document.activeElement === document.body || document.activeElement?.closest(".landing")) this.go.focus();
  }

  /** Enlarge; or end the work. */
  private start(only?: readonly Picture[]): void {
    if (this.queue.isRunning && !only) return this.queue.cancel();
    const wish = this.settings.wish();
    if (this.queue.isRunning || !wish) return;
    this.summary = "";
    this.ended = 0;
    const outdated = this.queue.fresh(wish).length === 0 && this.chosen ? [this.chosen] : undefined;
    void this.queue.start(wish, only ?? outdated).then((run) => this.finished(run));
    this.go.focus();
  }

  private finished({ done, failed, all }: Run): void {
    const told = [done > 0 ? `${done} done` : "", failed > 0 ? `${failed} failed` : "", done + failed < all ? `${all - done - failed} not enlarged` : ""];
    this.summary = all > 1 ? told.filter(Boolean).join(", ") : "";
    const { chosen } = this;
    this.say(this.summary || (chosen ? `${chosen.file.name}: ${chosen.state}` : ""));
    const hadFocus = document.activeElement === this.go || document.activeElement === document.body;
    this.render();
    if (hadFocus && done > 0) (this.save.hidden ? this.strip : this.save).focus();
  }

  /** Do what a person chose about a picture, and about all that failed for the same reason. */
  private mend(which: Choice): void {
    const wish = this.settings.wish();
    if (!this.chosen || !wish) return;
    const mended = which === "again" || which === "redo" ? [this.chosen] : this.alike(which);
    for (const picture of mended) {
      if (which === "as-png") picture.pngInsteadOf = wish.format;
      if (which === "loss" || which === "white") picture.allowed = { ...picture.allowed, loss: true };
      if (which === "truncated") picture.allowed = { ...picture.allowed, truncated: true };
    }
    this.start(mended);
  }

  /** The pictures that failed as the chosen one did, and that a choice helps. */
  private alike(which: Choice): Picture[] {
    const message = this.chosen?.failure?.message;
    return this.queue.pictures.filter(({ failure }) => failure?.message === message && failure?.remedies.some((one) => one === which));
  }

  private settled(): void {
    if (!this.queue.isRunning) this.summary = "";
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
    this.strip.focus();
  }

  private changed(picture: Picture | null): void {
    const { done, failed, all } = this.queue.run();
    if (picture && this.queue.isRunning && all > 1 && done + failed > this.ended) {
      this.ended = done + failed;
      this.say(`${this.ended} of ${all}`);
    }
    this.render();
  }

  private say(text: string): void {
    this.live.textContent = text;
  }

  private render(): void {
    const { pictures: given } = this.queue;
    this.root.dataset["empty"] = String(given.length === 0);
    if (this.chosen && !given.includes(this.chosen)) this.chosen = given[0] ?? null;
    const wish = this.settings.wish();
    this.strip.update(given, this.chosen);
    this.showChosen();
    this.outcome.show(this.chosen, wish, (which) => this.alike(which).length, wish !== null && this.queue.fresh(wish).length > 0);
    this.showProgress();
    this.showActions(wish);
  }

  private showChosen(): void {
    const { chosen: picture, shown } = this;
    const result = picture?.result?.after ?? null;
    const before = picture?.before ?? null;
    if (shown.picture !== picture || shown.result !== result) {
      this.viewer.show(before || result ? { before, after: result } : null, shown.picture === picture);
      this.shown = { picture, result };
    }
    this.viewer.say(picture ? unseen(picture) : "");
  }

  private showProgress(): void {
    const { isRunning } = this.queue;
    const { done, failed, all, share } = this.queue.run();
    this.bar.hidden = !isRunning;
    this.bar.setAttribute("aria-valuenow", String(Math.round((share ?? 0) * 100)));
    this.bar.style.setProperty("--share", String(share ?? 0));
    this.bar.classList.toggle("unknown", share === null);
    const count = all > 1 && isRunning ? `${done + failed} of ${all}` : "";
    const one = this.chosen?.state === "running" ? this.chosen : this.queue.pictures.find(({ state }) => state === "running");
    const time = one ? one.note || (one.secondsLeft === null ? "" : timeLeft(one.secondsLeft)) : "";
    const own = all > 1 && time ? `this picture: ${time}` : time;
    const words = isRunning ? [count, one === this.chosen || all < 2 ? own : ""].filter(Boolean).join(" · ") || "Working" : this.summary;
    this.left.textContent = words;
    this.left.hidden = words === "";
  }

  private showActions(wish: Wish | null): void {
    const { queue, chosen } = this;
    const fresh = wish ? queue.fresh(wish) : queue.pictures.filter(({ result }) => !result);
    const outdated = wish ? queue.outdated(wish) : [];
    const isFresh = chosen !== null && fresh.includes(chosen);
    const isOutdated = chosen !== null && outdated.includes(chosen);
    const { isRunning } = queue;
    this.go.hidden = !isRunning && fresh.length === 0 && !isOutdated;
    this.go.disabled = !isRunning && wish === null;
    this.go.classList.toggle("cancel", isRunning);
    const count = queue.pictures.length;
    const done = queue.pictures.filter(({ result }) => result).length;
    const those = count === 1 ? "Enlarge" : fresh.length === count ? `Enlarge all ${count}` : `Enlarge ${fresh.length}${done > 0 ? " more" : ""}`;
    this.go.textContent = isRunning ? "Cancel" : fresh.length === 0 ? "Enlarge again" : those;
    this.only.hidden = isRunning || wish === null || !isFresh || fresh.length < 2;
    this.again.hidden = isRunning || fresh.length > 0 || outdated.length < (isOutdated ? 2 : 1);
    this.again.textContent = isOutdated ? `All ${outdated.length} again` : `Enlarge the other ${outdated.length === 1 ? "one" : outdated.length} again`;
    this.save.hidden = !chosen?.result;
    this.save.classList.toggle("secondary", isRunning || !this.go.hidden);
    this.all.hidden = done < 2;
    this.all.textContent = `All ${done} as ZIP`;
    this.all.setAttribute("aria-label", `Download all ${done} as ZIP`);
  }
}

/** Of these, browsers show every file that is sound. */
const SHOWN = /^(JPE?G|PNG|WEBP|GIF|BMP|)$/i;

/** What to say in the place of a picture that this browser cannot show. */
function unseen({ file, before, result }: Picture): string {
  const cannot = (format: string): string => `This browser cannot show ${SHOWN.test(format) ? "this file" : `${format} files`}`;
  if (!before && !result) return `${cannot(suffixOf(file.name))}.`;
  if (result && !result.after) return `${cannot(formatName(result.blob.type))}, so there is nothing to compare. The result can be downloaded.`;
  return before ? "" : `${cannot(suffixOf(file.name))}, so only the result is here.`;
}

function button(className: string, click: () => void, text = ""): HTMLButtonElement {
  return el("button", { type: "button", className, on: { click } }, text);
}

async function loaded(name: string): Promise<Shown> {
  return whole(await createImageBitmap(await (await fetch(name)).blob()));
}
