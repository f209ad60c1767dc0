/** Images in: bytes anywhere in a job's parameters are uploaded, and replaced by the source that stands for them. */

import type { ImageSource } from "./types.js";

export type Upload = (image: Blob) => Promise<string>;

/** `params` as the server takes them: every `image` and mask that is given as bytes is uploaded by `upload`. */
export async function wireParams(params: object, upload: Upload): Promise<Record<string, unknown>> {
  const entries = Object.entries(params).filter(([, value]) => value !== undefined);
  return Object.fromEntries(
    await Promise.all(entries.map(async ([name, value]) => [name, await wireValue(name, value, upload)])),
  );
}

async function wireValue(name: string, value: unknown, upload: Upload): Promise<unknown> {
  if (isBytes(value) || (name === "mask" && typeof value === "string")) {
    const source = typeof value === "string" ? value : await upload(blobOf(value));
    return name === "mask" ? { image: source } : source;
  }
  if (Array.isArray(value)) return Promise.all(value.map((each) => wireValue("", each, upload)));
  return typeof value === "object" && value !== null ? wireParams(value, upload) : value;
}

export function blobOf(image: Exclude<ImageSource, string>): Blob {
  return image instanceof Blob ? image : new Blob([image as BlobPart]);
}

function isBytes(value: unknown): value is Exclude<ImageSource, string> {
  return value instanceof Blob || value instanceof ArrayBuffer || ArrayBuffer.isView(value);
}

/** The kind of job that the images in `params` imply. */
export function impliedKind(params: object): "txt2img" | "img2img" | "inpaint" {
  const { image, mask } = params as { image?: unknown; mask?: unknown };
  if (mask != null) return "inpaint";
  return image == null ? "txt2img" : "img2img";
}
