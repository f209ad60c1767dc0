/** Names for what the server sends and takes; the fields are generated from its OpenAPI document (`schema.ts`). */

import type { components } from "./schema.js";

type Schemas = components["schemas"];

export type Job = Schemas["JobView"];
export type JobStatus = Schemas["JobStatus"];
export type Image = Schemas["ImageView"];
export type OwnImage = Schemas["OwnImageView"];
export type FoundImage = Schemas["FoundImageView"];
export type Duplicates = Schemas["DuplicatesView"];
export type Estimate = Schemas["EstimateView"];
export type Problem = Schemas["Problem"];
export type FieldError = Schemas["FieldError"];
export type Model = Schemas["ModelView"];
export type Sampler = Schemas["SamplerView"];
export type Style = Schemas["StyleView"];
export type Lora = Schemas["AuxiliaryModelView"];
export type Upscaler = Schemas["UpscalerView"];
export type Capability = Schemas["CapabilityView"];
export type QueuePlace = Schemas["QueueView"];
export type Usage = Schemas["UsageView"];
export type Rewrite = Schemas["RewriteView"];
export type Input = Schemas["InputView"];

/** An image for a job: its bytes, or a source that the server resolves: a URL, `input:...`, `image:...`, Base64. */
export type ImageSource = string | Blob | Uint8Array | ArrayBuffer;

/** The body of a job, as `POST /v1/jobs` takes it: kind, params and options. */
export type JobRequest = Schemas["JobBody"];
export type Kind = JobRequest["kind"];

/** The parameters of a kind of job; an image may be given as its bytes. */
export type Params<K extends Kind> = WithBytes<Extract<JobRequest, { kind: K }>["params"]>;

/** What a request says of a job beside its parameters, such as `tags`, `metadata` and `cancel_after_s`. */
export type JobOptions = Omit<Extract<JobRequest, { kind: "txt2img" }>, "kind" | "params">;

/** `T` with bytes allowed as its images, and as the whole mask. */
type WithBytes<T> = {
  [Name in keyof T]: Name extends "image" | "mask" ? T[Name] | ImageSource : Name extends "others" ? ImageSource[] : T[Name];
};

/** What happens to a job, in order. */
export type JobEvent =
  /** The job has a new status. */
  | { type: "status"; job: Job }
  /** The job waits: its place in the queue has changed. */
  | { type: "queue"; place: QueuePlace }
  /** The job waits for something, such as a model that is downloaded. */
  | { type: "loading"; name: string; done_bytes?: number | null; total_bytes?: number | null }
  /** Denoising step `step` of `steps` is done. */
  | { type: "progress"; step: number; steps: number }
  /** The image at step `step`, as a data URI. */
  | { type: "preview"; step: number; image: string }
  /** The prompt was rewritten, or could not be. */
  | { type: "rewrite"; rewrite: Rewrite };

export function isFinished(job: Job): boolean {
  return job.status === "succeeded" || job.status === "failed" || job.status === "canceled";
}
