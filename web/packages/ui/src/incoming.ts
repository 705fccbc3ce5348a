/** Pictures that come in: chosen, dropped, pasted. */
import { el } from "./dom";

/** A hidden field for choosing files; `open` shows the system's dialog. */
export function chooser(take: (files: File[]) => void): { root: HTMLElement; open: () => void } {
  const input = el("input", {
    type: "file",
    accept: "image/*,.heic,.avif,.jxl,.tif,.tiff",
    multiple: true,
    hidden: true, // a button opens it
  });
  input.addEventListener("change", () => {
    take([...(input.files ?? [])]);
    input.value = "";
  });
  return { root: input, open: () => input.click() };
}

/** Take what is dropped anywhere on the page or pasted into it. */
export function acceptEverywhere(target: HTMLElement, take: (files: File[]) => void): void {
  let inside = 0;
  const mark = (): void => void target.classList.toggle("dropping", inside > 0);
  const holdsFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
  document.addEventListener("dragenter", (event) => {
    if (holdsFiles(event)) inside++;
    mark();
  });
  document.addEventListener("dragleave", (event) => {
    if (holdsFiles(event)) inside = Math.max(0, inside - 1);
    mark();
  });
  document.addEventListener("dragover", (event) => {
    if (holdsFiles(event)) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    inside = 0;
    mark();
    if (!holdsFiles(event)) return;
    event.preventDefault();
    take(picturesIn(event.dataTransfer!.files));
  });
  document.addEventListener("paste", (event) => {
    const files = picturesIn(event.clipboardData?.files ?? []);
    if (files.length > 0) take(files);
  });
}

/** Files that are pictures, or whose type the system does not know. */
function picturesIn(files: Iterable<File>): File[] {
  return [...files].filter(({ type }) => type === "" || type.startsWith("image/"));
}
