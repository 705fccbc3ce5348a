/** The back end on a server: the jobs of `a2f serve`. */
import type { Abilities, Backend, ModelInfo, Status, Wish } from "./backend";

interface Job {
  readonly id: string;
  readonly status: "queued" | "running" | "done" | "failed" | "cancelled";
  readonly position?: number;
  readonly progress: number;
  readonly seconds_left: number | null;
  readonly error: Problem | null;
  readonly result: string | null;
}

interface Problem {
  readonly title: string;
  readonly detail?: string;
}

interface Told {
  readonly models: readonly ModelInfo[];
  readonly formats: readonly string[];
  readonly limits: { readonly body_bytes: number };
}

export class RemoteBackend implements Backend {
  async abilities(): Promise<Abilities> {
    const { models, formats, limits } = (await (await asked("v1/models")).json()) as Told;
    return { models, formats, mostBytes: limits.body_bytes };
  }

  async enlarge(picture: File, wish: Wish, signal: AbortSignal, tell: (status: Status) => void): Promise<Blob> {
    tell({ share: null, secondsLeft: null, note: "Sending" });
    const job = await submitted(picture, wish, signal, tell);
    const address = `v1/jobs/${job.id}`;
    try {
      const end = await followed(address, signal, tell);
      if (end.status !== "done") throw new Error(end.error ? messageOf(end.error) : `The job is ${end.status}.`);
      return await (await asked(end.result ?? `${address}/result`, { signal })).blob();
    } finally {
      await fetch(address, { method: "DELETE", keepalive: true }).catch(() => undefined); // the server forgets it by itself too
    }
  }
}

/** The query of a wish. */
export function queryOf(wish: Wish): URLSearchParams {
  const query = new URLSearchParams({ model: wish.model });
  if (wish.scale !== null) query.set("scale", String(wish.scale));
  else if (wish.width !== null && wish.height !== null) query.set("size", `${wish.width}x${wish.height}`);
  else if (wish.width !== null) query.set("width", String(wish.width));
  else if (wish.height !== null) query.set("height", String(wish.height));
  else if (wish.maxSide !== null) query.set("max_side", String(wish.maxSide));
  if (wish.format !== null) query.set("format", wish.format);
  if (wish.format !== null && ["jpeg", "webp", "avif"].includes(wish.format)) query.set("quality", String(wish.quality));
  if (!wish.keepMetadata) query.set("strip", "true");
  return query;
}

/** Hand a picture in; while the queue is full, again and again, as the server asks. */
async function submitted(picture: File, wish: Wish, signal: AbortSignal, tell: (status: Status) => void): Promise<Job> {
  for (;;) {
    const form = new FormData();
    form.append("image", picture, picture.name);
    const response = await fetch(`v1/jobs?${queryOf(wish)}`, { method: "POST", body: form, signal });
    if (response.status !== 429) return (await (await checked(response)).json()) as Job;
    tell({ share: null, secondsLeft: null, note: "Waiting: the queue is full" });
    await slept(1000 * Math.max(1, Number(response.headers.get("retry-after")) || 1), signal);
  }
}

/** A job to its end, by server-sent events; where they break off, they are asked for again. */
async function followed(address: string, signal: AbortSignal, tell: (status: Status) => void): Promise<Job> {
  for (;;) {
    const response = await asked(`${address}/events`, { signal, headers: { accept: "text/event-stream" } });
    for await (const data of eventsIn(response.body!)) {
      const job = JSON.parse(data) as Job;
      if (job.status !== "queued" && job.status !== "running") return job;
      const ahead = job.status === "queued" ? `Waiting: number ${job.position ?? 1} in the queue` : "";
      tell({ share: job.status === "queued" ? null : job.progress, secondsLeft: job.seconds_left, note: ahead });
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
  return checked(await fetch(address, options));
}

async function checked(response: Response): Promise<Response> {
  if (response.ok) return response;
  const problem = (await response.json().catch(() => null)) as Problem | null;
  throw new Error(problem ? messageOf(problem) : `The server answered ${response.status} ${response.statusText}.`);
}

function messageOf({ title, detail }: Problem): string {
  return detail ? `${title}: ${detail}` : title;
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
