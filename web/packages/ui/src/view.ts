/** Where a picture lies on the stage: pure arithmetic. */

export interface Box {
  readonly width: number;
  readonly height: number;
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** The picture's centre on the stage is its point (x, y), in shares of its sides; `zoom` is stage pixels a pixel. */
export interface View extends Point {
  readonly zoom: number;
}

/** Stage pixels a picture's pixel, at most: single pixels are large squares then. */
export const MAX_ZOOM = 64;

/** Stage pixels that a small picture may take although its pixels become large squares. */
const SEEN = 320;

/** The view that shows the whole picture; its pixels are enlarged 8 times at most, or until it can be seen. */
export function fitted(picture: Box, stage: Box): View {
  const maxZoom = Math.min(MAX_ZOOM, Math.max(8, SEEN / Math.max(picture.width, picture.height)));
  const zoom = Math.min(stage.width / picture.width, stage.height / picture.height, maxZoom);
  return { x: 0.5, y: 0.5, zoom };
}

/** Where the picture's upper left corner lies on the stage. */
export function origin(view: View, picture: Box, stage: Box): Point {
  return {
    x: stage.width / 2 - view.x * picture.width * view.zoom,
    y: stage.height / 2 - view.y * picture.height * view.zoom,
  };
}

/** Zoom by a factor while the point of the stage stays where it is in the picture. */
export function zoomed(view: View, factor: number, at: Point, picture: Box, stage: Box): View {
  const minZoom = Math.min(fitted(picture, stage).zoom, 1);
  const zoom = Math.min(MAX_ZOOM, Math.max(minZoom, view.zoom * factor));
  const from = origin(view, picture, stage);
  const fixed = { x: (at.x - from.x) / view.zoom, y: (at.y - from.y) / view.zoom };
  const moved = {
    x: (fixed.x + (stage.width / 2 - at.x) / zoom) / picture.width,
    y: (fixed.y + (stage.height / 2 - at.y) / zoom) / picture.height,
    zoom,
  };
  return held(moved, picture, stage);
}

/** Move the picture by stage pixels. */
export function panned(view: View, by: Point, picture: Box, stage: Box): View {
  const x = view.x - by.x / (picture.width * view.zoom);
  const y = view.y - by.y / (picture.height * view.zoom);
  return held({ x, y, zoom: view.zoom }, picture, stage);
}

/** The view kept so that no edge of a large picture leaves a gap, and a small one lies in the middle. */
export function held(view: View, picture: Box, stage: Box): View {
  const side = (share: number, length: number, room: number): number => {
    const half = room / 2 / (length * view.zoom);
    return half >= 0.5 ? 0.5 : Math.min(1 - half, Math.max(half, share));
  };
  return { x: side(view.x, picture.width, stage.width), y: side(view.y, picture.height, stage.height), zoom: view.zoom };
}

/** Whether the picture is larger than the stage. */
export function overflows(view: View, picture: Box, stage: Box): boolean {
  return picture.width * view.zoom > stage.width + 1 || picture.height * view.zoom > stage.height + 1;
}
