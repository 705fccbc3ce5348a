/** A server that answers as `a2f serve` does, without a network: results are made by the browser that asks. */
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";

import { serveFolder } from "./server.mjs";

export interface Sent {
  readonly query: URLSearchParams;
  readonly body: Buffer;
}

export interface Mock {
  readonly server: Server;
  /** What was handed in. */
  readonly sent: Sent[];
  /** Jobs that were deleted. */
  readonly deleted: string[];
  /** Answers "queue full" so many times. */
  full: number;
  /** Of the next jobs: how they end, and whether they wait for ever. */
  outcome: "done" | "failed" | "endless";
  /** Of jobs that are done. */
  notes: readonly string[];
  /** Of jobs that fail, unless the query holds `unless`. */
  problem: { readonly type: string; readonly title: string; readonly status: number; readonly detail: string; readonly options?: readonly string[]; readonly loses?: readonly string[] };
  unless: string;
  /** Of results. */
  type: string;
}

const POLICY =
  "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/** Serves a folder and the jobs; every result is `result`. */
export function mockServer(page: string, result: Buffer): Mock {
  const files = serveFolder(page, { isolated: false, headers: { "content-security-policy": POLICY } });
  const server = createServer((request, response) => {
    const url = new URL(request.url!, "http://localhost");
    if (url.pathname.startsWith("/v1/")) void answer(request, response, url);
    else files.emit("request", request, response);
  });
  const problem = { type: "/problems/not-a-picture", title: "The body is not a picture", status: 415, detail: "not an image of a known format" };
  const mock: Mock = { server, sent: [], deleted: [], full: 0, outcome: "done", notes: [], problem, unless: "", type: "image/png" };

  async function answer(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const [, , what, id, part] = url.pathname.split("/");
    if (what === "models") return json(response, 200, MODELS);
    if (request.method === "POST") return submit(request, response, url);
    if (request.method === "DELETE") {
      mock.deleted.push(id);
      response.writeHead(204).end();
    } else if (part === "events") await events(response, id);
    else if (part === "result") response.writeHead(200, { "content-type": mock.type, "a2f-model": "sd-robust" }).end(result);
    else json(response, 200, job(id, 0.5));
  }

  async function submit(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    if (mock.full-- > 0) {
      const problem = { type: "/problems/busy", title: "The queue is full", status: 429, detail: "try again" };
      return json(response, 429, problem, { "retry-after": "1" });
    }
    mock.sent.push({ query: url.searchParams, body: Buffer.concat(parts) });
    json(response, 202, { ...job(String(mock.sent.length), 0), status: "queued", position: 1 });
  }

  async function events(response: ServerResponse, id: string): Promise<void> {
    response.writeHead(200, { "content-type": "text/event-stream" });
    const tell = (told: object): void => void response.write(`event: status\ndata: ${JSON.stringify(told)}\n\n`);
    tell({ ...job(id, 0), status: "queued", position: 1 });
    for (const progress of [0.25, 0.5, 0.75]) tell(job(id, progress));
    if (mock.outcome === "endless") return;
    const isAllowed = mock.unless !== "" && mock.sent[Number(id) - 1].query.has(mock.unless);
    if (mock.outcome === "failed" && !isAllowed) tell({ ...job(id, 0.75), status: "failed", error: mock.problem });
    else tell({ ...job(id, 1), status: "done", result: `/v1/jobs/${id}/result`, notes: mock.notes });
    response.end();
  }

  return mock;
}

const MODELS = {
  models: [
    { name: "sd", scale: 2, parameters: 313372, kind: "clean" },
    { name: "sd", scale: 3, parameters: 315997, kind: "clean" },
    { name: "sd", scale: 4, parameters: 319672, kind: "clean" },
    { name: "sd-robust", scale: 2, parameters: 313372, kind: "robust" },
    { name: "sd-robust", scale: 4, parameters: 319672, kind: "robust" },
  ],
  formats: ["jpeg", "png", "webp", "tiff", "avif"],
  limits: { body_bytes: 1_000_000, pixels: 50_000_000, queue: 4, workers: 1 },
};

function job(id: string, progress: number): object {
  return { id, status: "running", progress, seconds_left: 42, width: 192, height: 192, error: null, result: null, notes: [] };
}

function json(response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}): void {
  const type = status < 400 ? "application/json" : "application/problem+json";
  response.writeHead(status, { "content-type": type, ...headers }).end(JSON.stringify(body));
}
