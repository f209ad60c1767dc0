/** Reads a job's event stream, and resumes it after the last event when the connection is lost. */

import { ConnectionFailed, UnexpectedResponse } from "./errors.js";
import { type Http, sleep } from "./http.js";
import { type Frame, FrameDecoder } from "./sse.js";
import { isFinished, type JobEvent } from "./types.js";

/** The server sends a heartbeat every 15 s on an idle stream; after three missing ones it is unreachable. */
const SILENCE_MS = 45_000;

export async function* readEvents(http: Http, path: string, signal?: AbortSignal): AsyncGenerator<JobEvent, void> {
  let lastId: string | null = null;
  for (let attempt = 0; ; ) {
    try {
      for await (const frame of frames(http, path, lastId, signal)) {
        if (frame.id !== null && frame.id !== lastId) {
          lastId = frame.id;
          attempt = 0;
        }
        const event = eventOf(frame);
        if (event === null) continue;
        yield event;
        if (event.type === "status" && isFinished(event.job)) return;
      }
      throw new ConnectionFailed("the event stream ended before the job was finished");
    } catch (failure) {
      signal?.throwIfAborted();
      const pauseMs = http.pauseMs(failure, attempt++);
      if (pauseMs === null) throw failure;
      await sleep(pauseMs, signal);
    }
  }
}

/** The events of one connection. */
async function* frames(
  http: Http,
  path: string,
  lastId: string | null,
  signal: AbortSignal | undefined,
): AsyncGenerator<Frame> {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  const headers = { Accept: "text/event-stream", ...(lastId === null ? {} : { "Last-Event-ID": lastId }) };
  try {
    const combined = signal ? AbortSignal.any([signal, silence.signal]) : silence.signal;
    const response = await http.open({ path, headers, signal }, combined);
    if (!response.headers.get("Content-Type")?.startsWith("text/event-stream") || response.body === null) {
      await response.body?.cancel();
      throw new UnexpectedResponse(`${response.url} did not answer with an event stream`);
    }
    const decoder = new FrameDecoder();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read().catch((error: unknown) => {
          throw new ConnectionFailed("the event stream was interrupted", { cause: error });
        });
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE_MS);
        yield* decoder.feed(value);
      }
    } finally {
      await reader.cancel().catch(() => undefined);
    }
  } finally {
    clearTimeout(timer);
  }
}

/** The event of a frame; null for sorts of events that are younger than this client. */
function eventOf({ name, data }: Frame): JobEvent | null {
  const payload = parsed(data);
  switch (name) {
    case "status":
      return { type: "status", job: payload as Extract<JobEvent, { type: "status" }>["job"] };
    case "queue":
      return { type: "queue", place: payload as Extract<JobEvent, { type: "queue" }>["place"] };
    case "rewrite":
      return { type: "rewrite", rewrite: payload as Extract<JobEvent, { type: "rewrite" }>["rewrite"] };
    case "loading":
    case "progress":
    case "preview":
      return { type: name, ...(payload as object) } as JobEvent;
    default:
      return null;
  }
}

function parsed(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    throw new UnexpectedResponse("an event of the stream is not JSON");
  }
}
