/** Numbers and names as people read them. */

/** "about 12 s left", "about 3 min left". */
export function timeLeft(seconds: number): string {
  if (seconds < 1.5) return "nearly done";
  if (seconds < 55) return `about ${Math.ceil(seconds)} s left`;
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} min left`;
  return `about ${(seconds / 3600).toFixed(1)} h left`;
}

/** "1.2 MB" */
export function bytesText(bytes: number): string {
  if (bytes < 1e3) return `${bytes} B`;
  return bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** "1 picture", "3 pictures" */
export function pictures(count: number): string {
  return count === 1 ? "1 picture" : `${count} pictures`;
}

const SUFFIXES: Record<string, string> = { "image/jpeg": "jpg", "image/x-portable-anymap": "ppm", "image/tiff": "tif" };

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
