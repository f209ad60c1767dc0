/** Sends requests: addresses, keys, time limits, retries, and the errors that responses stand for. */

import { ApiError, ConnectionFailed, PhotogramError, UnexpectedResponse } from "./errors.js";
import type { Problem } from "./types.js";

export interface Settings {
  baseUrl: string;
  apiKey: string | null;
  timeoutMs: number;
  maxRetries: number;
  fetch: typeof fetch;
}

export interface Call {
  method?: "GET" | "POST" | "PUT" | "DELETE";
  /** A path of the server, or a whole URL. */
  path: string;
  /** Bytes are sent as they are, anything else as JSON. */
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
  /** How much longer than usual the answer may take. */
  extraMs?: number;
}

/** A proxy answers 502, 503 or 504 while the gateway restarts. */
const RETRIED_STATUSES = new Set([429, 502, 503, 504]);
const FIRST_PAUSE_MS = 250;
const MAX_PAUSE_MS = 8_000;
const MAX_RETRY_AFTER_S = 60;

export class Http {
  /** Throws a TypeError for a key that no header can have; its message does not contain the key. */
  constructor(readonly settings: Settings) {
    if (settings.apiKey !== null && !/^[!-~]*$/.test(settings.apiKey)) {
      throw new TypeError("the API key contains a space, a line end or another character that no header may have");
    }
  }

  /** The JSON of a successful response. */
  async json<T>(call: Call): Promise<T> {
    return this.#retried(call, async (response) => {
      try {
        return (await response.json()) as T;
      } catch (error) {
        if (error instanceof SyntaxError) throw new UnexpectedResponse(`${response.url} did not answer with JSON`);
        throw error;
      }
    });
  }

  /** The body of a successful response. */
  async blob(call: Call): Promise<Blob> {
    return this.#retried(call, (response) => response.blob());
  }

  /** A successful response without a body, such as that to a deletion. */
  async nothing(call: Call): Promise<void> {
    await this.#retried(call, (response) => response.arrayBuffer());
  }

  /** A successful response whose body is still to be read, after one attempt; `signal` may also end the reading. */
  async open(call: Call, signal: AbortSignal): Promise<Response> {
    const { baseUrl, fetch: send } = this.settings;
    const url = new URL(call.path, `${baseUrl}/`);
    const payload = this.#payload(call, url);
    let response: Response;
    try {
      response = await send(url, { method: call.method ?? "GET", ...payload, signal });
    } catch (error) {
      throw this.#failure(error, url, call.signal);
    }
    if (response.ok) return response;
    throw await errorOf(response);
  }

  /** Milliseconds before attempt `attempt + 1`, or null if `failure` is final. */
  pauseMs(failure: unknown, attempt: number): number | null {
    if (attempt >= this.settings.maxRetries) return null;
    if (failure instanceof ApiError) {
      if (!RETRIED_STATUSES.has(failure.status)) return null;
      // Without Retry-After the language model is switched off, and no retry would help.
      if (failure.code === "language_unavailable" && failure.retryAfterS === null) return null;
      if (failure.retryAfterS !== null) {
        return failure.retryAfterS <= MAX_RETRY_AFTER_S ? failure.retryAfterS * 1_000 : null;
      }
    } else if (!(failure instanceof ConnectionFailed)) {
      return null;
    }
    // Half of the pause is random, so that clients that failed together do not retry together.
    return Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempt) * (0.5 + Math.random() / 2);
  }

  async #retried<T>(call: Call, read: (response: Response) => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#attempt(call, read);
      } catch (failure) {
        const pauseMs = this.pauseMs(failure, attempt);
        if (pauseMs === null) throw failure;
        await sleep(pauseMs, call.signal);
      }
    }
  }

  async #attempt<T>(call: Call, read: (response: Response) => Promise<T>): Promise<T> {
    const limit = AbortSignal.timeout(this.settings.timeoutMs + (call.extraMs ?? 0));
    const response = await this.open(call, call.signal ? AbortSignal.any([call.signal, limit]) : limit);
    try {
      return await read(response);
    } catch (error) {
      throw this.#failure(error, new URL(response.url), call.signal);
    }
  }

  #payload(call: Call, url: URL): RequestInit {
    const headers: Record<string, string> = { Accept: "application/json", ...call.headers };
    // Images may lie on another host, which must not see the key.
    if (this.settings.apiKey !== null && url.origin === new URL(this.settings.baseUrl).origin) {
      headers["Authorization"] = `Bearer ${this.settings.apiKey}`;
    }
    if (call.body === undefined) return { headers };
    if (call.body instanceof Blob) {
      return { headers: { "Content-Type": "application/octet-stream", ...headers }, body: call.body };
    }
    return { headers: { "Content-Type": "application/json", ...headers }, body: JSON.stringify(call.body, sendable) };
  }

  #failure(error: unknown, url: URL, signal: AbortSignal | undefined): unknown {
    if (signal?.aborted || error instanceof PhotogramError) return error;
    const isTimeout = error instanceof Error && error.name === "TimeoutError";
    const reason = isTimeout ? "timed out" : reasonOf(error);
    return new ConnectionFailed(`no answer from ${url.origin}${url.pathname}: ${reason}`, { cause: error });
  }
}

/** What fetch says of a failure, and why: "fetch failed" alone tells nothing. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.cause.message ? `${error.message}: ${error.cause.message}` : error.message;
}

/** Throws a TypeError for numbers that JSON has not; they would become null, which leaves a parameter out. */
function sendable(name: string, value: unknown): unknown {
  if (typeof value === "bigint" || (typeof value === "number" && !Number.isFinite(value))) {
    throw new TypeError(`${name} cannot be sent: ${value}`);
  }
  return value;
}

/** Resolves after `ms`; rejects with the reason of `signal` when that is aborted. */
export function sleep(ms: number, signal?: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

async function errorOf(response: Response): Promise<ApiError> {
  let problem: Partial<Problem> = {};
  try {
    const document: unknown = await response.json();
    if (typeof document === "object" && document !== null) problem = document;
  } catch {
    // A proxy's error page is not JSON; the status is still useful.
  }
  return new ApiError(response.status, problem, response.headers.get("X-Request-ID"), retryAfterS(response.headers));
}

/** Seconds of a Retry-After header, which is a number or a date; null if it is missing or invalid. */
function retryAfterS(headers: Headers): number | null {
  const text = headers.get("Retry-After")?.trim();
  if (!text) return null;
  if (/^\d+$/.test(text)) return Number(text);
  const moment = Date.parse(text);
  return Number.isNaN(moment) ? null : Math.max(0, (moment - Date.now()) / 1_000);
}
