/** The size asked for, and the passes through a network that reach it; mirrors src/a2f/sizes.py. */
import { UpscaleError } from "./errors";

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** Exactly one way to say the size of the result, in pixels. */
export interface SizeWish {
  readonly width?: number | undefined;
  readonly height?: number | undefined;
  readonly maxSide?: number | undefined;
}

/** The exact size of the result: both sides given, or one of them, or the longer one. */
export function targetSize(given: Size, wish: SizeWish): Size {
  const { width, height, maxSide } = wish;
  for (const [name, value] of Object.entries({ width, height, maxSide })) {
    if (value !== undefined && !(Number.isInteger(value) && value >= 1)) {
      throw new UpscaleError("option", `${name} is ${value}: a whole number of pixels from 1 on is needed`);
    }
  }
  if (maxSide !== undefined && (width !== undefined || height !== undefined)) {
    throw new UpscaleError("option", "maxSide goes without width and height: give one or the other");
  }
  const follow = (side: number, to: number, from: number): number => Math.max(1, Math.floor((side * to) / from + 0.5));
  if (width !== undefined && height !== undefined) return { width, height };
  if (width !== undefined) return { width, height: follow(given.height, width, given.width) };
  if (height !== undefined) return { width: follow(given.width, height, given.height), height };
  if (maxSide === undefined) throw new UpscaleError("option", "no size: give width, height or maxSide");
  return given.width >= given.height
    ? { width: maxSide, height: follow(given.height, maxSide, given.width) }
    : { width: follow(given.width, maxSide, given.height), height: maxSide };
}

/** The scale of each pass: the smallest that suffice, at maxTimes two, the smaller one first. */
export function planScales(given: Size, target: Size, available: readonly number[]): number[] {
  const factor = Math.max(target.width / given.width, target.height / given.height);
  if (factor <= 1) return [];
  const scales = [...new Set(available)].sort((a, b) => a - b);
  const single = scales.find((scale) => scale >= factor - 1e-9);
  if (single !== undefined) return [single];
  const pairs = scales.flatMap((a, k) => scales.slice(k).map((b) => [a, b]));
  const enough = pairs.filter(([a, b]) => a * b >= factor - 1e-9).sort((p, q) => p[0] * p[1] - q[0] * q[1]);
  if (enough.length > 0) return enough[0];
  const maxTimes = (scales.at(-1) ?? 1) ** 2;
  throw new UpscaleError(
    "option",
    `${target.width} x ${target.height} is ${factor.toFixed(1)} times ${given.width} x ${given.height}: ` +
      `at most ${maxTimes} times is possible`,
  );
}
