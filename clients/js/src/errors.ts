/** The errors of this package; all of them are a `PhotogramError`. */

import type { FieldError, Job, Problem } from "./types.js";

/** The root of this package's errors. */
export class PhotogramError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** The server did not respond, even after retries; `cause` says why. */
export class ConnectionFailed extends PhotogramError {}

/** The response is not from Photogram, but from a proxy or another service at that address. */
export class UnexpectedResponse extends PhotogramError {}

/** The server refused the request. `code` is a code of docs/errors.md, `errors` names each field that is wrong. */
export class ApiError extends PhotogramError {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly errors: readonly FieldError[];
  readonly requestId: string | null;
  /** Seconds after which the request may succeed, if the server says so. */
  readonly retryAfterS: number | null;

  constructor(status: number, problem: Partial<Problem>, requestId: string | null, retryAfterS: number | null) {
    const code = problem.code ?? `http_${status}`;
    const detail = problem.detail ?? problem.title ?? `HTTP ${status}`;
    super(`${detail} (${status} ${code})`);
    this.status = status;
    this.code = code;
    this.detail = detail;
    this.errors = problem.errors ?? [];
    this.requestId = problem.request_id ?? requestId;
    this.retryAfterS = retryAfterS;
  }
}

abstract class JobError extends PhotogramError {
  constructor(
    message: string,
    readonly job: Job,
  ) {
    super(message);
  }
}

/** The job failed; `job.error` holds the code and the message. */
export class JobFailed extends JobError {
  constructor(job: Job) {
    super(`job ${job.id} failed: ${job.error?.message ?? "no reason was given"}`, job);
  }
}

/** The job was canceled before it had an image. */
export class JobCanceled extends JobError {
  constructor(job: Job) {
    super(`job ${job.id} was canceled`, job);
  }
}

/** The job was not finished in time; it goes on, and waiting again is allowed. */
export class WaitTimeout extends JobError {
  constructor(job: Job) {
    super(`job ${job.id} is still ${job.status}`, job);
  }
}
