/** Numbers and names as people read them. */

/** "about 12 s left", "about 3 min left". */
export function timeLeft(seconds: number): string {
  if (seconds < 4) return "a few seconds left";
  if (seconds < 20) return `about ${Math.ceil(seconds)} s left`;
  if (seconds < 88) return `about ${5 * Math.ceil(seconds / 5)} s left`;
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} min left`;
  return `about ${(seconds / 3600).toFixed(1)} h left`;
}

/** "1.2 MB", with a space at which no line ends. */
export function bytesText(bytes: number): string {
  if (bytes < 1e3) return `${bytes}\u00a0B`;
  return bytes < 1e6 ? `${Math.round(bytes / 1e3)}\u00a0kB` : `${(bytes / 1e6).toFixed(1)}\u00a0MB`;
}

/** "12.5 megapixels" */
export function pixelsText(pixels: number): string {
  return `${(pixels / 1e6).toLocaleString("en", { maximumFractionDigits: 1 })} megapixels`;
}

/** "1 picture", "3 pictures" */
export function pictures(count: number): string {
  return count === 1 ? "1 picture" : `${count} pictures`;
}

const FORMAT_NAMES: Readonly<Record<string, string>> = { webp: "WebP", jxl: "JPEG XL", exr: "OpenEXR", "x-portable-anymap": "PPM", "x-exr": "OpenEXR", "vnd-ms.dds": "DDS", "x-tga": "TGA" };

/** "JPEG" for "jpeg" and for "image/jpeg". */
export function formatName(format: string): string {
  const name = format.replace(/^image\//, "");
  return FORMAT_NAMES[name] ?? name.toUpperCase();
}

const STARTS_WITH_FORMAT = /^(jpeg|png|webp|tiff|bmp|gif|ppm|avif|heic|jxl|exr|tga|dds)\b/;

/** With a capital letter, names of formats as people write them, and a full stop. */
export function sentence(text: string): string {
  const whole = text.trim().replace(/[.\s]*$/, ".").replace(STARTS_WITH_FORMAT, formatName);
  return whole.charAt(0).toUpperCase() + whole.slice(1);
}

/** The end of a file's name as the name of a format: "TIF"; nothing where there is none. */
export function suffixOf(name: string): string {
  return /\.([A-Za-z0-9]{1,4})$/.exec(name)?.[1].toUpperCase() ?? "";
}

const SUFFIXES: Readonly<Record<string, string>> = { "image/jpeg": "jpg", "image/x-portable-anymap": "ppm", "image/tiff": "tif", "image/vnd-ms.dds": "dds", "image/x-exr": "exr", "image/x-tga": "tga" };

/** The name of a result: "cat_x4.png", or "cat_1920x1080.png" for an exact size. */
export function resultName(given: string, mark: string, type: string): string {
  const stem = given.replace(/\.[^.]*$/, "") || "picture";
  return `${stem}_${mark}.${SUFFIXES[type] ?? type.replace(/^image\//, "")}`;
}

/** Names made different from each other: the second "a.png" becomes "a (2).png". */
export function distinct(names: readonly string[]): string[] {
  const taken = new Set<string>();
  return names.map((name) => {
    let free = name;
    for (let k = 2; taken.has(free.toLowerCase()); k++) free = name.replace(/(\.[^.]*)?$/, ` (${k})$1`);
    taken.add(free.toLowerCase());
    return free;
  });
}
