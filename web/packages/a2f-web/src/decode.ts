/** From a file or an image to pixels: colours as the file has them, alpha not multiplied in, upright. */
import type { Pixels } from "./enlarge";
import { UpscaleError } from "./errors";

/** Side of what is read at a time: every WebGL 2 allows it. */
const STRIP = 2048;

const PLAIN: ImageBitmapOptions = { colorSpaceConversion: "none", premultiplyAlpha: "none" };

/** Decode a file. */
export async function decodeBlob(blob: Blob, grey: boolean): Promise<Pixels> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(blob, PLAIN);
  } catch {
    throw new UpscaleError(
      "picture",
      `this browser cannot decode the picture (${blob.type || "unknown type"}, ${blob.size} bytes): ` +
        "give a whole JPEG, PNG, WebP, AVIF, GIF or BMP file",
    );
  }
  return pixelsOf(bitmap, grey);
}

/** The pixels of a bitmap, which is closed. */
export async function pixelsOf(bitmap: ImageBitmap, grey: boolean): Promise<Pixels> {
  const { width, height } = bitmap;
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2");
  try {
    const data = gl ? await readByTexture(gl, bitmap) : readByCanvas(bitmap);
    return { width, height, data, grey };
  } finally {
    bitmap.close();
    gl?.getExtension("WEBGL_lose_context")?.loseContext();
  }
}

/** A canvas would multiply alpha into the colours and lose those of faint pixels; a texture keeps all bits. */
async function readByTexture(gl: WebGL2RenderingContext, bitmap: ImageBitmap): Promise<Uint8ClampedArray> {
  const { width, height } = bitmap;
  const data = new Uint8ClampedArray(4 * width * height);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
  gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
  for (let top = 0; top < height; top += STRIP) {
    for (let left = 0; left < width; left += STRIP) {
      const w = Math.min(STRIP, width - left);
      const h = Math.min(STRIP, height - top);
      const part = await createImageBitmap(bitmap, left, top, w, h, PLAIN);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, part);
      part.close();
      gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, gl.getParameter(gl.TEXTURE_BINDING_2D), 0);
      const rows = new Uint8Array(4 * w * h);
      gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, rows);
      for (let y = 0; y < h; y++) data.set(rows.subarray(4 * y * w, 4 * (y + 1) * w), 4 * ((top + y) * width + left));
    }
  }
  return data;
}

/** Exact for opaque pictures, and the majority is opaque; a transparent one is refused rather than rounded. */
function readByCanvas(bitmap: ImageBitmap): Uint8ClampedArray {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new UpscaleError("memory", `no canvas of ${bitmap.width} x ${bitmap.height}: give a smaller picture`);
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  for (let k = 3; k < data.length; k += 4) {
    if (data[k] !== 255) {
      throw new UpscaleError("picture", "transparent pictures need WebGL 2, which this browser has switched off");
    }
  }
  return data;
}
