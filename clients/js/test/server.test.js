// The client against a real server, which PHOTOGRAM_URL and PHOTOGRAM_API_KEY name.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ApiError, JobCanceled, Photogram } from "photogram";

const client = new Photogram();
const SMALL = { width: 64, height: 64, seed: 1 };
let first;

test("it makes an image and follows it", async () => {
  const events = [];
  first = await client.generate("a red apple", { ...SMALL, num_inference_steps: 4 }, {
    tags: ["js"], onEvent: (event) => events.push(event.type),
  });
  assert.equal(first.job.status, "succeeded");
  assert.ok(events.includes("progress") && events.at(-1) === "status", events.join());
  const bytes = new Uint8Array(await (await client.download(first.images[0])).arrayBuffer());
  assert.deepEqual([...bytes.subarray(1, 4)], [..."PNG"].map((letter) => letter.charCodeAt(0)));
  assert.equal((await client.download(first.images[0], "jpg")).type, "image/jpeg");
});

test("it edits an image, of which it has the bytes", async () => {
  const image = await client.download(first.images[0]);
  const edited = await client.generate("a green apple", { image, strength: 0.5, ...SMALL, num_inference_steps: 4 });
  assert.equal(edited.job.kind, "img2img");
  assert.notEqual(edited.images[0].url, first.images[0].url);
});

test("it cancels a job that waits and one that is drawn", async () => {
  const long = { prompt: "a cat", ...SMALL, num_inference_steps: 900 };
  const job = await client.submit("txt2img", long);
  await client.cancel(job.id);
  assert.equal((await client.wait(job.id)).status, "canceled");
  const cancelOnce = (event) => event.type === "status" && event.job.status === "running" && client.cancel(event.job.id);
  await assert.rejects(client.run("txt2img", long, { onEvent: cancelOnce }), JobCanceled);
});

test("it lists, estimates, deletes, and names what is wrong", async () => {
  assert.ok((await client.models()).some((model) => model.is_default));
  assert.ok((await client.samplers()).length > 5);
  assert.ok((await client.dryRun("txt2img", { prompt: "a cat", ...SMALL })).cost.units > 0);
  const wrong = client.submit("txt2img", { prompt: "a cat", width: 3 });
  await assert.rejects(wrong, (error) => error instanceof ApiError && error.errors[0].field === "params.width");
  await client.delete(first.job.id);
  await assert.rejects(client.job(first.job.id), { status: 404 });
});
