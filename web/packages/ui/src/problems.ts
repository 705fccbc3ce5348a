/** The problems of a server and the errors of the package, in words for a person in front of the page. */
import { Refusal, type Remedy } from "./backend";
import { sentence } from "./texts";

/** An answer of the type application/problem+json. */
export interface Problem {
  /** "/problems/NAME" */
  readonly type: string;
  readonly title: string;
  readonly detail?: string;
  /** Options with which the request would pass, each by itself: "force=true". */
  readonly options?: readonly string[];
  /** What the format would lose: a name of `LOSSES`. */
  readonly loses?: readonly string[];
}

/** In words, as they follow "Also lost:". */
const LOSSES: Readonly<Record<string, string>> = {
  transparency: "transparency",
  "partial-transparency": "partial transparency",
  "data-channel": "the data channel",
  hdr: "HDR colours",
  "bit-depth": "16 bits a channel",
  "floating-point": "floating-point values",
  metadata: "camera data that is too long",
  "colour-profile": "the colour profile",
  animation: "all frames but the first",
  colours: "all colours but 256",
};

interface Told {
  readonly text: string;
  /** Whether the detail, without its advice, says it better than the text. */
  readonly isDetailed?: boolean;
  readonly remedies?: readonly Remedy[];
  readonly isFinal?: boolean;
}

const AGAIN: readonly Remedy[] = ["again"];

/** By the last part of the type, which stays the same. */
const KINDS: Readonly<Record<string, Told>> = {
  "bad-request": { text: "The server did not understand the page. Reload the page and try again." },
  unauthorized: { text: "The server needs its key. Reload the page; the key is the password, and any user name will do." },
  "wrong-origin": { text: "The server does not take pictures from this page. Open the page of the server itself." },
  "wrong-host": { text: "The server does not have the name in the address bar. Use its IP address, or start it with --host-name." },
  "not-found": { text: "The server has already forgotten this picture.", remedies: AGAIN },
  "too-slow": { text: "The picture arrived too slowly. A faster connection is needed.", remedies: AGAIN },
  "not-ready": { text: "The server has no result.", remedies: AGAIN },
  "too-large": { text: "The file is larger than this server allows.", isFinal: true },
  "too-many-pixels": { text: "The picture or its result has more pixels than this server allows.", isDetailed: true },
  "too-much-memory": { text: "The picture needs more memory than this server has. A smaller size may help." },
  "not-a-picture": { text: "The file is not a picture, or has a format that cannot be read.", isFinal: true },
  "missing-package": { text: "This server cannot read files of this format.", isDetailed: true, isFinal: true },
  "bad-option": { text: "The server cannot do this with these settings.", isDetailed: true },
  "damaged-picture": { text: "The picture is damaged, or its file ends too early.", isFinal: true },
  "format-loses": { text: "The format cannot hold all of this picture.", isDetailed: true, remedies: ["as-png"] },
  failed: { text: "The picture could not be enlarged.", remedies: AGAIN },
  busy: { text: "The server has no room at the moment.", remedies: AGAIN },
  stopping: { text: "The server is shutting down.", remedies: AGAIN },
  "took-too-long": { text: "The picture took longer than this server allows. A smaller size may help.", remedies: AGAIN },
};

/** What the page says to a problem of the server, and what a person can do. */
export function refusalOf({ type, title, detail = "", options = [], loses = [] }: Problem): Refusal {
  const told = KINDS[type.replace(/^.*\//, "")];
  if (!told) return new Refusal(sentence(title), AGAIN);
  // The detail is a fact, a colon, and advice; the advice names an option where that would help.
  const fact = told.isDetailed && !detail.includes("=") ? detail : detail.split(": ")[0];
  return refusal(told, fact, options, loses);
}

/** A refusal that tells the first loss by the fact, and the others after it. */
function refusal(told: Told, fact: string, options: readonly string[], loses: readonly string[]): Refusal {
  const others = loses.slice(1).map((loss) => LOSSES[loss] ?? loss);
  const also = others.length > 0 ? ` Also lost: ${others.join(", ")}.` : "";
  return new Refusal(textOf(told, fact) + also, [...(told.remedies ?? []), ...buttonsFor(options, loses)], told.isFinal);
}

/** The buttons for options that help. */
function buttonsFor(options: readonly string[], loses: readonly string[]): Remedy[] {
  const remedies: Remedy[] = [];
  if (options.includes("force=true")) remedies.push(loses.join() === "transparency" ? "white" : "loss");
  if (options.includes("allow_truncated=true")) remedies.push("truncated");
  return remedies;
}

/** By the codes of the errors of a2f-web. */
const CODES: Readonly<Record<string, Told>> = {
  picture: { text: "This browser cannot open the file: it is no picture, is damaged, or has a format that the browser does not know.", isFinal: true },
  option: { text: "This cannot be done with these settings.", isDetailed: true },
  model: { text: "The network cannot be loaded. Is there a connection?", remedies: AGAIN },
  memory: { text: "This browser has not enough memory for the picture. A smaller size, or closing other pages, may help.", remedies: AGAIN },
  engine: { text: "The network stopped in this browser.", remedies: AGAIN },
  encode: { text: "The result cannot be written in this format.", isDetailed: true, remedies: ["as-png"] },
};

/** What the page says to an error of the package a2f-web. */
export function refusalOfError(error: unknown): Refusal {
  const { code, message, options = [], loses = [] } = error as { code?: string; message?: string; options?: readonly string[]; loses?: readonly string[] };
  const told = CODES[code ?? ""] ?? CODES["engine"];
  const fact = (message ?? String(error)).split(": choose ")[0];
  return refusal(told, fact, options, loses);
}

/** The fact, unless it speaks of the options of the interface. */
function textOf({ text, isDetailed = false }: Told, fact: string): string {
  return isDetailed && fact !== "" && !fact.includes("=") ? sentence(fact) : text;
}
