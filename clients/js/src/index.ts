/** JavaScript client of Photogram, the self-hosted image-generation service. */

export { Photogram } from "./client.js";
export type { ClientOptions, Drawing, GenerateOptions, ImageFormat, JobFilters, WaitOptions } from "./client.js";
export { ApiError, ConnectionFailed, JobCanceled, JobFailed, PhotogramError, UnexpectedResponse, WaitTimeout } from "./errors.js";
export { isFinished } from "./types.js";
export type * from "./types.js";
export type { components } from "./schema.js";
