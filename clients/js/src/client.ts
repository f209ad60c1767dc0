/** The client: submit jobs, follow them, and fetch what they made. */

import { JobCanceled, JobFailed, WaitTimeout } from "./errors.js";
import { readEvents } from "./events.js";
import { Http, sleep } from "./http.js";
import { blobOf, impliedKind, wireParams } from "./images.js";
import { isFinished } from "./types.js";
import type {
  Capability, Duplicates, Estimate, FoundImage, Image, ImageSource, Input, Job, JobEvent, JobOptions, JobStatus, Kind, Lora, Model, Params,
  Rewrite, Sampler, Style, Upscaler, Usage,
} from "./types.js"; // prettier-ignore

export interface ClientOptions {
  /** By default the environment's PHOTOGRAM_URL, else `http://127.0.0.1:8000`. */
  baseUrl?: string;
  /** By default the environment's PHOTOGRAM_API_KEY, else none. */
  apiKey?: string | null;
  /** For one request, without retries. Waiting for a job is not limited by it. */
  timeoutMs?: number;
  maxRetries?: number;
  /** Another `fetch`, for proxies and tests. */
  fetch?: typeof fetch;
}

export interface WaitOptions {
  /** Stops waiting; `generate` also cancels the job. */
  signal?: AbortSignal;
  /** After it waiting ends with `WaitTimeout`; by default never. */
  timeoutMs?: number;
}

export interface GenerateOptions extends WaitOptions, JobOptions {
  onEvent?: (event: JobEvent) => void;
}

/** What `generate` gives back: the finished job and its images. */
export interface Drawing {
  job: Job;
  images: Image[];
}

export interface JobFilters {
  status?: JobStatus;
  kind?: Kind;
  model?: string;
  tag?: string;
  /** Words that the prompt contains. */
  search?: string;
}

/** What is searched for, exactly one of the three. */
export type Sought =
  | { text: string }
  /** An image that the server has (`input:...`, `image:...`), or its bytes, which are uploaded. */
  | { image: ImageSource }
  /** The id of an image of a job; it is not among what is found. */
  | { like: string };

export interface SearchOptions extends Omit<JobFilters, "status"> {
  limit?: number;
  /** From -1 to 1. */
  minSimilarity?: number;
}

export type ImageFormat = "png" | "jpg" | "webp";

type EditParams = Params<"img2img"> | Params<"inpaint">;

/** The server allows 60 s, but many proxies time out after that. */
const MAX_POLL_S = 30;
/** Prevents a busy loop with a server that answers at once. */
const POLL_PAUSE_MS = 250;
const REWRITE_MS = 180_000;

export class Photogram {
  readonly #http: Http;

  constructor(options: ClientOptions = {}) {
    const environment: Record<string, string | undefined> =
      (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env ?? {};
    const url = options.baseUrl ?? (environment["PHOTOGRAM_URL"] || "http://127.0.0.1:8000");
    const key = options.apiKey === undefined ? environment["PHOTOGRAM_API_KEY"] : options.apiKey;
    this.#http = new Http({
      baseUrl: url.replace(/\/+$/, ""),
      apiKey: key || null,
      timeoutMs: options.timeoutMs ?? 30_000,
      maxRetries: options.maxRetries ?? 5,
      fetch: options.fetch ?? globalThis.fetch.bind(globalThis),
    });
  }

  /**
   * Draw `prompt` and wait for the images. With an image in `params` it is edited, with a mask only within the mask.
   *
   * Rejects with `JobFailed` or `JobCanceled`. When `signal` is aborted or the time is over, the job is canceled.
   */
  async generate(
    prompt: string,
    params: Omit<Params<"txt2img">, "prompt"> | Omit<EditParams, "prompt"> = {},
    options: GenerateOptions = {},
  ): Promise<Drawing> {
    return this.run(impliedKind(params), { ...params, prompt } as EditParams, options);
  }

  /** Submit a job of `kind`, wait for its end and return it; rejects and cancels as `generate` does. */
  async run<K extends Kind>(kind: K, params: Params<NoInfer<K>>, options: GenerateOptions = {}): Promise<Drawing> {
    const { signal, timeoutMs, onEvent, ...jobOptions } = options;
    const limits = { ...(signal && { signal }), ...(timeoutMs !== undefined && { timeoutMs }) };
    const id = newJobId();
    try {
      await this.submit(kind, params, { ...jobOptions, id, ...(signal && { signal }) });
      const job = await (onEvent ? this.#follow(id, onEvent, limits) : this.wait(id, limits));
      return drawingOf(job);
    } catch (error) {
      if (signal?.aborted || error instanceof WaitTimeout) await this.cancel(id).catch(() => undefined);
      throw error;
    }
  }

  /** Queue a job. Sent again after a lost answer it is still one job: its id is chosen here. */
  async submit<K extends Kind>(
    kind: K,
    params: Params<K>,
    { id = newJobId(), signal, ...options }: JobOptions & { id?: string; signal?: AbortSignal } = {},
  ): Promise<Job> {
    const wire = await wireParams(params as object, async (image) => (await this.upload(image, signal)).source);
    return this.#http.json({ method: "PUT", path: pathOf(id), body: { kind, params: wire, ...options }, signal });
  }

  /** What a job would cost, and how long it would take, without queueing it. */
  async dryRun<K extends Kind>(kind: K, params: Params<K>, options: JobOptions = {}): Promise<Estimate> {
    const wire = await wireParams(params as object, async (image) => (await this.upload(image)).source);
    return this.#http.json({ method: "POST", path: "/v1/jobs/dry_run", body: { kind, params: wire, ...options } });
  }

  async job(id: string): Promise<Job> {
    return this.#http.json({ path: pathOf(id) });
  }

  /** The job when it has ended, however it ended. */
  async wait(id: string, { signal, timeoutMs = Infinity }: WaitOptions = {}): Promise<Job> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const waitS = Math.floor(Math.min(MAX_POLL_S, Math.max(0, deadline - Date.now()) / 1_000));
      const job = await this.#http.json<Job>({ path: `${pathOf(id)}?wait=${waitS}`, signal, extraMs: waitS * 1_000 });
      if (isFinished(job)) return job;
      if (Date.now() >= deadline) throw new WaitTimeout(job);
      await sleep(Math.min(POLL_PAUSE_MS, deadline - Date.now()), signal);
    }
  }

  /** The job's events as they happen, up to its end; resumed by itself after a lost connection. */
  stream(id: string, { signal }: { signal?: AbortSignal } = {}): AsyncGenerator<JobEvent, void> {
    return readEvents(this.#http, `${pathOf(id)}/events`, signal);
  }

  async cancel(id: string): Promise<Job> {
    return this.#http.json({ method: "POST", path: `${pathOf(id)}/cancel` });
  }

  /** Answer an agent job's question (`waiting_for_input`), or tell it what to change. */
  async tell(id: string, text: string, question?: string): Promise<Job> {
    return this.#http.json({ method: "POST", path: `${pathOf(id)}/input`, body: { text, question } });
  }

  /** Delete a job that has ended: its record and its images. */
  async delete(id: string): Promise<void> {
    await this.#http.nothing({ method: "DELETE", path: pathOf(id) });
  }

  /** The key's jobs, the newest first; pages are fetched as they are needed. */
  async *jobs(filters: JobFilters = {}): AsyncGenerator<Job, void> {
    let cursor: string | null = null;
    do {
      const query = new URLSearchParams({ ...filters, ...(cursor !== null && { cursor }) });
      const page: { jobs: Job[]; next: string | null } = await this.#http.json({ path: `/v1/jobs?${query}` });
      yield* page.jobs;
      cursor = page.next;
    } while (cursor !== null);
  }

  /** The key's images that show what is searched for, the most similar first. */
  async searchImages(sought: Sought, { minSimilarity, ...options }: SearchOptions = {}): Promise<FoundImage[]> {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries({ ...options, min_similarity: minSimilarity })) {
      if (value !== undefined) query.set(name, String(value));
    }
    for (const [name, value] of Object.entries(sought)) {
      query.set(name, typeof value === "string" ? value : (await this.upload(value)).source);
    }
    const page = await this.#http.json<{ images: FoundImage[] }>({ path: `/v1/images/search?${query}` });
    return page.images;
  }

  /** Groups of the key's images that are nearly equal: their hashes differ in at most `maxDistance` of 64 bits. */
  async duplicateImages({ maxDistance = 4, limit = 20 } = {}): Promise<Duplicates> {
    return this.#http.json({ path: `/v1/images/duplicates?max_distance=${maxDistance}&limit=${limit}` });
  }

  /** The bytes of an image of a job. */
  async download(image: Image, format: ImageFormat = "png", signal?: AbortSignal): Promise<Blob> {
    return this.#http.blob({ path: image.url.replace(/\.png$/, `.${format}`), headers: { Accept: "image/*" }, signal });
  }

  /** Keep an image on the server for jobs that start from it; `source` names it in their parameters. */
  async upload(image: Exclude<ImageSource, string>, signal?: AbortSignal): Promise<Input> {
    return this.#http.json({ method: "POST", path: "/v1/inputs", body: blobOf(image), signal });
  }

  /** The prompt as the server's language model rewrites it. */
  async rewrite(prompt: string): Promise<Rewrite> {
    return this.#http.json({ method: "POST", path: "/v1/prompts/rewrite", body: { prompt }, extraMs: REWRITE_MS });
  }

  models = (): Promise<Model[]> => this.#listing("models");
  samplers = (): Promise<Sampler[]> => this.#listing("samplers");
  styles = (): Promise<Style[]> => this.#listing("styles");
  loras = (): Promise<Lora[]> => this.#listing("loras");
  upscalers = (): Promise<Upscaler[]> => this.#listing("upscalers");
  capabilities = (): Promise<Capability[]> => this.#listing("capabilities");

  async usage(): Promise<Usage> {
    return this.#http.json({ path: "/v1/usage" });
  }

  async #listing<T>(name: string): Promise<T[]> {
    const page = await this.#http.json<Record<string, T[]>>({ path: `/v1/${name}` });
    return page[name] ?? [];
  }

  async #follow(id: string, onEvent: (event: JobEvent) => void, { signal, timeoutMs }: WaitOptions): Promise<Job> {
    const limit = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
    const either = AbortSignal.any([signal, limit].filter((each) => each !== undefined));
    try {
      for await (const event of this.stream(id, { signal: either })) onEvent(event);
    } catch (error) {
      if (!limit?.aborted || signal?.aborted) throw error;
      throw new WaitTimeout(await this.job(id));
    }
    return this.job(id);
  }
}

function drawingOf(job: Job): Drawing {
  if (job.status === "failed") throw new JobFailed(job);
  if (job.status === "canceled") throw new JobCanceled(job);
  return { job, images: job.result?.images ?? [] };
}

function pathOf(id: string): string {
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(id)) {
    throw new TypeError(`a job id is 1 to 64 letters, digits, '_' or '-', got ${JSON.stringify(id)}`);
  }
  return `/v1/jobs/${id}`;
}

/** 128 random bits; `crypto.randomUUID` is missing on pages without TLS. */
function newJobId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
