/** The stage: the picture before and after side by side, with a slider between them, zoom and pan. */
import { ICONS, el, icon } from "./dom";
import { type Area, Detail, type Shown } from "./shown";
import { type Point, type View, fitted, held, origin, overflows, panned, zoomed } from "./view";

/** Stage pixels a pixel from which on pixels are shown as squares. */
const SQUARES_FROM = 6;
const STEP = 1.25;

/** Half the width of the grip of the slider, with the ring of the focus. */
const GRIP = 28;

/** At least one of the two. */
interface Pictures {
  /** Null where the browser cannot show it. */
  readonly before: Shown | null;
  /** Null before it is made, or where the browser cannot show it. */
  readonly after: Shown | null;
}

/** Of a picture on the canvas: left, top, width, height. */
type Place = readonly [number, number, number, number];

export class Viewer {
  readonly root: HTMLElement;
  private readonly canvas: HTMLCanvasElement;
  private readonly handle: HTMLElement;
  private readonly tools: HTMLElement;
  private readonly zoomText: HTMLElement;
  private readonly labels: readonly [HTMLElement, HTMLElement];
  private readonly message = el("p", { className: "unseen", hidden: true });
  private readonly pointers = new Map<number, Point>();
  private readonly details = { before: new Detail(() => this.draw()), after: new Detail(() => this.draw()) };
  private pictures: Pictures | null = null;
  private view: View = { x: 0.5, y: 0.5, zoom: 1 };
  private isFitted = true;
  private split = 0.5;
  private drags: "split" | "pan" = "pan";
  private frame = 0;

  /** @param zoomable without it there is the slider alone, and the page scrolls under a finger. */
  constructor(private readonly zoomable = true) {
    this.canvas = el("canvas", {
      className: "stage-canvas",
      attrs: zoomable
        ? { tabindex: "0", role: "img", "aria-label": "Picture. Arrow keys move it, plus and minus zoom, 0 shows all of it." }
        : { role: "img", "aria-label": "The same photograph, before and after" },
    });
    this.handle = el(
      "div",
      {
        className: "split",
        attrs: { role: "slider", tabindex: "0", "aria-label": "Before and after", "aria-valuemin": "0", "aria-valuemax": "100" },
      },
      el("span", { className: "split-grip" }, icon(...ICONS.handle)),
    );
    this.labels = [el("span", { className: "tag tag-before" }, "Before"), el("span", { className: "tag tag-after" }, "After")];
    this.zoomText = el("button", { type: "button", className: "zoom-text", title: "One to one", on: { click: () => this.oneToOne() } });
    this.tools = el(
      "div",
      { className: "tools", attrs: { role: "toolbar", "aria-label": "Zoom" } },
      this.tool("Zoom out", ICONS.minus, () => this.zoomBy(1 / STEP)),
      this.zoomText,
      this.tool("Zoom in", ICONS.add, () => this.zoomBy(STEP)),
      this.tool("Show all", ICONS.fit, () => this.fit()),
    );
    this.root = el("div", { className: "stage" }, this.canvas, this.handle, ...this.labels, this.message);
    if (zoomable) this.root.append(this.tools);
    else this.root.classList.add("stage-plain");
    this.listen();
    new ResizeObserver(() => this.resized()).observe(this.root);
  }

  /** Show pictures; the part that is seen stays when the same picture gets its result. */
  show(pictures: Pictures | null, same = false): void {
    const before = this.box();
    this.pictures = pictures;
    for (const side of ["before", "after"] as const) if (!pictures?.[side]) this.details[side].clear();
    if (pictures && same && before.width > 0) {
      const zoom = (this.view.zoom * before.width) / this.box().width;
      this.view = this.isFitted ? fitted(this.box(), this.room()) : held({ ...this.view, zoom }, this.box(), this.room());
    } else this.fit();
    this.draw();
  }

  /** Say something in the place of a picture that cannot be shown, or at the edge of the other one. */
  say(text: string): void {
    this.message.textContent = text;
    this.message.hidden = text === "";
    this.message.classList.toggle("unseen-half", this.pictures !== null);
  }

  private tool(label: string, paths: readonly string[], click: () => void): HTMLElement {
    return el("button", { type: "button", className: "tool", title: label, attrs: { "aria-label": label }, on: { click } }, icon(...paths));
  }

  /** The picture's size; that of the result where there is one. */
  private box(): { width: number; height: number } {
    const shown = this.pictures?.after ?? this.pictures?.before;
    return { width: shown?.width ?? 0, height: shown?.height ?? 0 };
  }

  private room(): { width: number; height: number } {
    return { width: this.root.clientWidth, height: this.root.clientHeight };
  }

  private resized(): void {
    const ratio = devicePixelRatio;
    const { width, height } = this.room();
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    if (this.pictures) this.view = this.isFitted ? fitted(this.box(), this.room()) : held(this.view, this.box(), this.room());
    this.paint();
  }

  private fit(): void {
    this.isFitted = true;
    if (this.pictures) this.view = fitted(this.box(), this.room());
    this.draw();
  }

  private oneToOne(): void {
    this.zoomBy(1 / devicePixelRatio / this.view.zoom);
  }

  private zoomBy(factor: number, at?: Point): void {
    if (!this.pictures) return;
    const room = this.room();
    this.isFitted = false;
    this.view = zoomed(this.view, factor, at ?? { x: room.width / 2, y: room.height / 2 }, this.box(), room);
    this.draw();
  }

  private panBy(x: number, y: number): void {
    this.isFitted = false;
    this.view = panned(this.view, { x, y }, this.box(), this.room());
    this.draw();
  }

  private splitTo(share: number): void {
    this.split = Math.min(1, Math.max(0, share));
    this.draw();
  }

  private listen(): void {
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.handle.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 0.1 : 0.02;
      const to: Record<string, number> = {
        ArrowLeft: this.split - step, ArrowDown: this.split - step, ArrowRight: this.split + step, ArrowUp: this.split + step,
        PageDown: this.split - 0.1, PageUp: this.split + 0.1, Home: 0, End: 1,
      };
      const share = to[event.key];
      if (share === undefined) return;
      event.preventDefault();
      this.splitTo(share);
    });
    for (const target of [this.canvas, this.handle]) {
      target.addEventListener("pointerdown", (event) => this.down(event, target));
      target.addEventListener("pointermove", (event) => this.move(event));
      for (const end of ["pointerup", "pointercancel"] as const) {
        target.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
      }
    }
    if (!this.zoomable) return;
    this.canvas.addEventListener("dblclick", (event) => {
      if (overflows(this.view, this.box(), this.room())) this.fit();
      else this.zoomBy(4, this.at(event));
    });
    this.root.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.zoomBy(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), this.at(event));
      },
      { passive: false },
    );
  }

  private key(event: KeyboardEvent): void {
    if (!this.zoomable || event.ctrlKey || event.metaKey) return;
    const actions: Record<string, () => void> = {
      "+": () => this.zoomBy(STEP),
      "=": () => this.zoomBy(STEP),
      "-": () => this.zoomBy(1 / STEP),
      "0": () => this.fit(),
      "1": () => this.oneToOne(),
      ArrowLeft: () => this.panBy(60, 0),
      ArrowRight: () => this.panBy(-60, 0),
      ArrowUp: () => this.panBy(0, 60),
      ArrowDown: () => this.panBy(0, -60),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  private at(event: MouseEvent): Point {
    const { left, top } = this.root.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  private down(event: PointerEvent, target: HTMLElement): void {
    if (event.button > 0 || !this.pictures) return;
    const at = this.at(event);
    target.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, at);
    const moves = this.zoomable && overflows(this.view, this.box(), this.room());
    this.drags = target === this.handle || !moves ? "split" : "pan";
    if (this.drags === "split" && this.pictures.before && this.pictures.after && target === this.canvas) this.splitTo(at.x / this.room().width);
  }

  private move(event: PointerEvent): void {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const at = this.at(event);
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, at);
    if (other && this.zoomable) {
      const spread = (p: Point): number => Math.hypot(p.x - other.x, p.y - other.y);
      this.panBy((at.x - before.x) / 2, (at.y - before.y) / 2);
      this.zoomBy(spread(at) / Math.max(1, spread(before)), { x: (at.x + other.x) / 2, y: (at.y + other.y) / 2 });
    } else if (this.drags === "split") this.splitTo(at.x / this.room().width);
    else this.panBy(at.x - before.x, at.y - before.y);
  }

  private draw(): void {
    this.frame ||= requestAnimationFrame(() => this.paint());
  }

  private paint(): void {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const context = this.canvas.getContext("2d")!;
    const ratio = devicePixelRatio;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    const pictures = this.pictures;
    const both = pictures !== null && pictures.before !== null && pictures.after !== null;
    this.handle.hidden = !both;
    this.labelSides(both);
    this.tools.hidden = !pictures;
    if (!pictures) return this.placeGround(0, 0, 0, 0);
    const { width, height } = this.box();
    const from = origin(this.view, this.box(), this.room());
    const zoom = this.view.zoom * ratio;
    const area = [from.x * ratio, from.y * ratio, width * zoom, height * zoom] as const;
    const edge = both ? this.split * this.canvas.width : this.canvas.width;
    context.imageSmoothingEnabled = this.view.zoom < SQUARES_FROM;
    context.imageSmoothingQuality = "high";
    const paint = (side: "before" | "after", left: number, right: number): void => {
      const picture = pictures[side];
      if (!picture) return;
      context.save();
      context.beginPath();
      context.rect(left, 0, right - left, this.canvas.height);
      context.clip();
      this.paintOne(context, picture, this.details[side], area);
      context.restore();
    };
    paint("before", 0, edge);
    paint("after", both ? edge : 0, this.canvas.width);
    this.place(area, ratio);
  }

  /** The picture in an area of the canvas; what is seen of it has all pixels as soon as they have been read. */
  private paintOne(context: CanvasRenderingContext2D, picture: Shown, detail: Detail, [x, y, width, height]: Place): void {
    context.drawImage(picture.bitmap, x, y, width, height);
    const [across, down] = [width / picture.width, height / picture.height];
    const seen = seenOf(picture, { x: -x / across, y: -y / down, width: this.canvas.width / across, height: this.canvas.height / down });
    const part = detail.of(picture, seen, across);
    if (!part) return;
    const { area, bitmap } = part;
    const to = [x + area.x * across, y + area.y * down, area.width * across, area.height * down] as const;
    context.clearRect(...to); // a transparent part would let the other one shine through
    context.drawImage(bitmap, ...to);
  }

  /** A label is there as long as there is room for it on its side of the slider. */
  private labelSides(both: boolean): void {
    const { width } = this.room();
    const rooms = [this.split * width, (1 - this.split) * width];
    this.labels.forEach((label, k) => {
      label.hidden = !both;
      label.classList.toggle("covered", label.offsetWidth + 24 > rooms[k]);
    });
  }

  private place([x, y, width, height]: Place, ratio: number): void {
    const percent = Math.round(this.split * 100);
    this.handle.style.left = `${this.split * 100}%`;
    const [at, end] = [this.split * this.room().width, this.room().width - GRIP];
    this.handle.style.setProperty("--grip-shift", `${Math.max(0, GRIP - at) - Math.max(0, at - end)}px`);
    this.handle.setAttribute("aria-valuenow", String(percent));
    this.handle.setAttribute("aria-valuetext", `${percent} % before, ${100 - percent} % after`);
    this.zoomText.textContent = `${Math.round(this.view.zoom * ratio * 100)} %`;
    this.zoomText.setAttribute("aria-label", `Zoom ${this.zoomText.textContent}. Show one to one`);
    this.canvas.classList.toggle("can-pan", this.zoomable && overflows(this.view, this.box(), this.room()));
    this.placeGround(x / ratio, y / ratio, width / ratio, height / ratio);
  }

  /** A chequered ground shows where the picture is transparent. */
  private placeGround(x: number, y: number, w: number, h: number): void {
    for (const [name, value] of Object.entries({ x, y, w, h })) this.root.style.setProperty(`--picture-${name}`, `${value}px`);
  }
}

/** What is seen of a picture, of an area that may reach beyond it. */
function seenOf(picture: Shown, { x, y, width, height }: Area): Area {
  const [left, top] = [Math.max(0, x), Math.max(0, y)];
  return { x: left, y: top, width: Math.min(picture.width, x + width) - left, height: Math.min(picture.height, y + height) - top };
}
