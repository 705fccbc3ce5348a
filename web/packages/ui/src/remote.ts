/** The back end on a server: the jobs of `a2f serve`. */
import { type Abilities, type Allowed, type Backend, type Enlarged, type ModelInfo, Refusal, type Status, type Wish } from "./backend";
import { type Problem, refusalOf } from "./problems";
import { sentence } from "./texts";

interface Job {
  readonly id: string;
  readonly status: "queued" | "running" | "done" | "failed" | "cancelled";
  readonly position?: number;
  readonly progress: number;
  readonly width: number;
  readonly height: number;
  readonly error: Problem | null;
  readonly result: string | null;
  readonly notes: readonly string[];
}

interface Told {
  readonly models: readonly ModelInfo[];
  readonly formats: readonly string[];
  readonly limits: { readonly body_bytes: number; readonly pixels: number; readonly workers: number };
}

/** Pixels of a result for each pixel that a picture may have. */
const OUTPUT_FACTOR = 16;

export class RemoteBackend implements Backend {
  async abilities(): Promise<Abilities> {
    const { models, formats, limits } = (await (await asked("v1/models")).json()) as Told;
    const { body_bytes: maxBytes, pixels: maxGiven, workers: atOnce } = limits;
    return { models, formats, maxBytes, maxGiven, maxPixels: OUTPUT_FACTOR * maxGiven, atOnce };
  }

  async enlarge(picture: File, wish: Wish, allowed: Allowed, signal: AbortSignal, tell: (status: Status) => void): Promise<Enlarged> {
    tell({ share: null, note: "Sending" });
    const job = await submitted(picture, queryOf(wish, allowed), signal, tell);
    const address = `v1/jobs/${job.id}`;
    try {
      const end = await followed(address, signal, tell);
      if (end.status !== "done") throw end.error ? refusalOf(end.error) : new Refusal("The server ended the work.", ["again"]);
      const answer = await asked(end.result ?? `${address}/result`, { signal });
      const model = answer.headers.get("a2f-model") ?? "";
      return { blob: await answer.blob(), width: end.width, height: end.height, model, notes: end.notes.map(sentence) };
    } finally {
      await fetch(address, { method: "DELETE", keepalive: true }).catch(() => undefined); // the server forgets it by itself too
    }
  }
}

/** The query of a wish. */
export function queryOf(wish: Wish, allowed: Allowed): URLSearchParams {
  const query = new URLSearchParams({ model: wish.model });
  if (wish.scale !== null) query.set("scale", String(wish.scale));
  else if (wish.width !== null && wish.height !== null) query.set("size", `${wish.width}x${wish.height}`);
  else if (wish.width !== null) query.set("width", String(wish.width));
  else if (wish.height !== null) query.set("height", String(wish.height));
  else if (wish.maxSide !== null) query.set("max_side", String(wish.maxSide));
  if (wish.format !== null) query.set("format", wish.format);
  if (wish.format !== null && ["jpeg", "webp", "avif"].includes(wish.format)) query.set("quality", String(wish.quality));
  if (!wish.keepMetadata) query.set("strip", "true");
  if (allowed.loss) query.set("force", "true");
  if (allowed.truncated) query.set("allow_truncated", "true");
  return query;
}

/** Hand a picture in; while the queue is full, again and again, as the server asks. */
async function submitted(picture: File, query: URLSearchParams, signal: AbortSignal, tell: (status: Status) => void): Promise<Job> {
  for (;;) {
    const form = new FormData();
    form.append("image", picture, picture.name);
    const response = await fetched(`v1/jobs?${query}`, { method: "POST", body: form, signal });
    if (response.status !== 429) return (await (await checked(response)).json()) as Job;
    tell({ share: null, note: "Waiting: the queue of the server is full" });
    await slept(1000 * Math.max(1, Number(response.headers.get("retry-after")) || 1), signal);
  }
}

/** A job to its end, by server-sent events; where they break off, they are asked for again. */
async function followed(address: string, signal: AbortSignal, tell: (status: Status) => void): Promise<Job> {
  for (;;) {
    const response = await asked(`${address}/events`, { signal, headers: { accept: "text/event-stream" } });
    try {
      for await (const data of eventsIn(response.body!)) {
        const job = JSON.parse(data) as Job;
        if (job.status !== "queued" && job.status !== "running") return job;
        const ahead = job.status === "queued" ? `Waiting: number ${job.position ?? 1} in the queue` : "";
        tell({ share: job.status === "queued" ? null : job.progress, note: ahead });
      }
    } catch (error) {
      if (signal.aborted) throw error; // otherwise the connection broke off
    }
    await slept(500, signal);
  }
}

/** The data of server-sent events. */
export async function* eventsIn(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (let got = await reader.read(); !got.done; got = await reader.read()) {
    held += got.value.replaceAll("\r", "");
    const events = held.split("\n\n");
    held = events.pop()!;
    for (const event of events) {
      const data = event.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim());
      if (data.length > 0) yield data.join("\n");
    }
  }
}

async function asked(address: string, options: RequestInit = {}): Promise<Response> {
  return checked(await fetched(address, options));
}

async function fetched(address: string, options: RequestInit): Promise<Response> {
  try {
    return await fetch(address, options);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Refusal("The server does not answer. It may have stopped, or the connection is gone.", ["again"]);
  }
}

async function checked(response: Response): Promise<Response> {
  if (response.ok) return response;
  const problem = (await response.json().catch(() => null)) as Problem | null;
  throw problem?.type ? refusalOf(problem) : new Refusal(`The server answered ${response.status} ${response.statusText}.`, ["again"]);
}

function slept(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    });
  });
}
