/** What is kept of an image between two blocks: rows of channels, in memory or in a file of the browser's own. */
import { UpscaleError } from "./errors";

/** Channels first .. end - 1 of rows top .. bottom - 1. */
export interface Band {
  readonly data: Float32Array;
  readonly first: number;
  readonly end: number;
  readonly top: number;
  readonly bottom: number;
  /** Where row `top` of channel `first` begins. */
  readonly offset: number;
  /** From one row to the next; a channel's rows are `width` apart. */
  readonly stride: number;
  readonly width: number;
}

/** Planes [channels, height, width], kept as rows of channels. */
export interface Features {
  /** Values that were written before. */
  read(first: number, end: number, top: number, bottom: number): Band;
  /** Where to put new values; `write` makes them last. */
  buffer(first: number, end: number, top: number, bottom: number): Band;
  write(band: Band): void;
  /** Let go of everything. */
  close(): Promise<void>;
}

/** Planes in memory; what is read and what is to be filled are views of them. */
export class FeaturesInMemory implements Features {
  private data: Float32Array;

  constructor(
    private readonly channels: number,
    height: number,
    private readonly width: number,
  ) {
    try {
      this.data = new Float32Array(channels * height * width);
    } catch {
      const megabytes = Math.ceil((channels * height * width * 4) / 1e6);
      throw new UpscaleError("memory", `${megabytes} MB for the features cannot be had: lower maxMemory`);
    }
  }

  read(first: number, end: number, top: number, bottom: number): Band {
    const stride = this.channels * this.width;
    const offset = top * stride + first * this.width;
    return { data: this.data, first, end, top, bottom, offset, stride, width: this.width };
  }

  buffer(first: number, end: number, top: number, bottom: number): Band {
    return this.read(first, end, top, bottom);
  }

  write(): void {
    // the values are there already
  }

  async close(): Promise<void> {
    this.data = new Float32Array(0);
  }
}

/** Planes in a file of the origin private file system, which no other site and no person sees. */
export class FeaturesInFile implements Features {
  private constructor(
    private readonly channels: number,
    private readonly width: number,
    private readonly folder: FileSystemDirectoryHandle,
    private readonly name: string,
    private readonly file: FileSystemSyncAccessHandle,
  ) {}

  static async open(channels: number, height: number, width: number): Promise<FeaturesInFile> {
    const bytes = channels * height * width * 4;
    const name = `a2f-features-${crypto.randomUUID()}`;
    try {
      const folder = await navigator.storage.getDirectory();
      const file = await opened(folder, name, bytes);
      return new FeaturesInFile(channels, width, folder, name, file);
    } catch (error) {
      const megabytes = Math.ceil(bytes / 1e6);
      const why = error instanceof Error ? error.message : String(error);
      throw new UpscaleError("memory", `no temporary file of ${megabytes} MB (${why}): free space or raise maxMemory`);
    }
  }

  read(first: number, end: number, top: number, bottom: number): Band {
    const band = this.buffer(first, end, top, bottom);
    this.each(band, (row, at) => {
      const got = this.file.read(row, { at });
      if (got < row.byteLength) throw new UpscaleError("memory", "the browser's temporary file was cut off: try again");
    });
    return band;
  }

  buffer(first: number, end: number, top: number, bottom: number): Band {
    const stride = (end - first) * this.width;
    const data = new Float32Array(stride * (bottom - top));
    return { data, first, end, top, bottom, offset: 0, stride, width: this.width };
  }

  write(band: Band): void {
    this.each(band, (row, at) => {
      if (this.file.write(row, { at }) < row.byteLength) {
        throw new UpscaleError("memory", "the browser's storage is full: free space or raise maxMemory");
      }
    });
  }

  async close(): Promise<void> {
    try {
      this.file.close();
    } finally {
      await this.folder.removeEntry(this.name);
    }
  }

  private each(band: Band, one: (row: Float32Array<ArrayBuffer>, at: number) => void): void {
    for (let y = band.top; y < band.bottom; y++) {
      const begin = (y - band.top) * band.stride;
      const row = band.data.subarray(begin, begin + band.stride) as Float32Array<ArrayBuffer>;
      one(row, 4 * this.width * (y * this.channels + band.first));
    }
  }
}

/** A new file of so many bytes; if it cannot be had, nothing of it stays open or behind. */
async function opened(folder: FileSystemDirectoryHandle, name: string, bytes: number): Promise<FileSystemSyncAccessHandle> {
  const entry = await folder.getFileHandle(name, { create: true });
  let file: FileSystemSyncAccessHandle | null = null;
  try {
    file = await entry.createSyncAccessHandle();
    file.truncate(bytes);
    return file;
  } catch (error) {
    file?.close(); // an open handle locks the file
    await folder.removeEntry(name).catch(() => undefined); // the first error is the one to tell
    throw error;
  }
}

/** Remove files that an earlier page left behind because it was closed while it ran; those in use stay. */
export async function removeLeftovers(): Promise<void> {
  const folder = await navigator.storage.getDirectory();
  for await (const name of folder.keys()) {
    if (name.startsWith("a2f-features-")) await folder.removeEntry(name).catch(() => undefined);
  }
}
