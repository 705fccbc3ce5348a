/** Results to the disk: one file, or all in one archive. */
import { downloadZip } from "client-zip";

import { el } from "./dom";
import type { Picture } from "./queue";
import { markOf } from "./settings";
import { distinct, resultName } from "./texts";

/** The name of a picture's result. */
export function nameOf({ file, result }: Picture): string {
  const { blob, width, height, wish } = result!;
  return resultName(file.name, markOf(wish, width, height), blob.type);
}

export function saveOne(picture: Picture): void {
  save(picture.result!.blob, nameOf(picture));
}

/** All results in one ZIP archive. */
export async function saveAll(pictures: readonly Picture[]): Promise<void> {
  const done = pictures.filter(({ result }) => result);
  const names = distinct(done.map(nameOf));
  const archive = await downloadZip(done.map(({ result }, k) => ({ name: names[k], input: result!.blob }))).blob();
  save(archive, "a2f.zip");
}

function save(blob: Blob, name: string): void {
  const href = URL.createObjectURL(blob);
  el("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000); // the browser reads it after the click
}
