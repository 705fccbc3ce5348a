/** Elements in one expression. */

type Props<T extends HTMLElement> = Partial<Omit<T, "style" | "dataset">> & {
  readonly attrs?: Readonly<Record<string, string>>;
  readonly on?: { readonly [K in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[K]) => void };
};

/** Make an element: properties, attributes, listeners and children. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props<HTMLElementTagNameMap[K]> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  const { attrs = {}, on = {}, ...rest } = props;
  Object.assign(made, rest);
  for (const [name, value] of Object.entries(attrs)) made.setAttribute(name, value);
  for (const [name, listener] of Object.entries(on)) made.addEventListener(name, listener as EventListener);
  made.append(...children);
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

/** A line icon of 24 x 24 from the data of its paths; it says nothing to a screen reader. */
export function icon(...paths: string[]): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  for (const data of paths) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", data);
    svg.append(path);
  }
  return svg;
}

export const ICONS = {
  add: ["M12 5v14", "M5 12h14"],
  minus: ["M5 12h14"],
  close: ["M6 6l12 12", "M18 6L6 18"],
  download: ["M12 4v11", "M7 10.5l5 5 5-5", "M5 20h14"],
  fit: ["M4 9V5a1 1 0 011-1h4", "M15 4h4a1 1 0 011 1v4", "M20 15v4a1 1 0 01-1 1h-4", "M9 20H5a1 1 0 01-1-1v-4"],
  handle: ["M9 7l-5 5 5 5", "M15 7l5 5-5 5"],
  done: ["M5 12.5l4.5 4.5L19 7.5"],
  failed: ["M12 6v8", "M12 18v.01"],
  picture: ["M5 4h14a1 1 0 011 1v14a1 1 0 01-1 1H5a1 1 0 01-1-1V5a1 1 0 011-1z", "M4 16l4.5-4.5 5 5 2.5-2.5 4 4", "M15 9v.01"],
} as const;
