// What the client does with answers of every sort, against a server of the test's own.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, beforeEach, test } from "node:test";

import { ApiError, ConnectionFailed, JobFailed, Photogram, UnexpectedResponse, WaitTimeout } from "photogram";

const JOB = { id: "j1", kind: "txt2img", status: "queued", params: {}, result: null, error: null };
const DONE = { ...JOB, status: "succeeded", result: { images: [{ url: "/images/a.png", width: 8, height: 8 }] } };

let server, url, client, requests, answers;

function json(status, body, headers = {}) {
  return (response) => {
    response.writeHead(status, { "Content-Type": "application/json", ...headers });
    response.end(JSON.stringify(body));
  };
}

function stream(pieces) {
  return (response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    for (const piece of pieces) response.write(piece);
    response.end();
  };
}

const hang = () => {};

before(async () => {
  server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const { method, url: path, headers } = request;
    requests.push({ method, path, headers, body: Buffer.concat(chunks) });
    (answers.shift() ?? json(500, {}))(response);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${server.address().port}`;
});

after(() => {
  server.closeAllConnections();
  server.close();
});

beforeEach(() => {
  [requests, answers] = [[], []];
  client = new Photogram({ baseUrl: `${url}/`, apiKey: "secret" });
});

test("what cannot be sent is refused before it is sent, and the key is not told", async () => {
  for (const value of [NaN, Infinity, 5n]) {
    await assert.rejects(client.submit("txt2img", { prompt: "a cat", seed: value }), { name: "TypeError", message: /^seed cannot be sent/ });
  }
  const refused = (error) => error instanceof TypeError && /API key/.test(error.message) && !/secret/.test(error.message);
  assert.throws(() => new Photogram({ baseUrl: url, apiKey: "secret\n" }), refused);
  assert.equal(requests.length, 0);
});

test("a refused connection says why", async () => {
  const nobody = new Photogram({ baseUrl: "http://127.0.0.1:9", maxRetries: 0 });
  await assert.rejects(nobody.submit("txt2img", {}), (error) => error instanceof ConnectionFailed && /fetch failed: ./.test(error.message));
});

test("a submission is sent again under the same id after a lost connection and after 503", async () => {
  answers = [(response) => response.destroy(), json(503, {}, { "Retry-After": "0" }), json(202, JOB)];
  assert.equal((await client.submit("txt2img", { prompt: "a cat" }, { tags: ["x"] })).status, "queued");
  assert.deepEqual(requests.map((each) => each.method), ["PUT", "PUT", "PUT"]);
  assert.equal(new Set(requests.map((each) => each.path)).size, 1);
  assert.deepEqual(JSON.parse(requests[2].body), { kind: "txt2img", params: { prompt: "a cat" }, tags: ["x"] });
  assert.equal(requests[2].headers.authorization, "Bearer secret");
});

test("a refusal carries what the server says of each field, and is not tried again", async () => {
  const errors = [{ field: "params.width", message: "is too large", code: "out_of_range" }];
  answers = [json(422, { code: "invalid_params", detail: "params.width is too large", errors, request_id: "r1" })];
  const wrong = client.submit("txt2img", { prompt: "a cat", width: 10 ** 9 });
  await assert.rejects(wrong, (error) => {
    assert.ok(error instanceof ApiError);
    assert.deepEqual([error.name, error.status, error.code], ["ApiError", 422, "invalid_params"]);
    assert.deepEqual([error.requestId, error.errors], ["r1", errors]);
    return true;
  });
  assert.equal(requests.length, 1);
});

test("a page of a proxy is an error with its status", async () => {
  answers = [(response) => response.writeHead(404).end("<html>")];
  await assert.rejects(client.job("j1"), { status: 404, code: "http_404" });
  answers = [(response) => response.end("<html>")];
  await assert.rejects(client.job("j1"), UnexpectedResponse);
  answers = [json(429, {}, { "Retry-After": "3600" })];
  await assert.rejects(client.job("j1"), { status: 429, retryAfterS: 3600 });
});

test("a server that is silent or absent is a ConnectionFailed", async () => {
  answers = [hang];
  const impatient = new Photogram({ baseUrl: url, timeoutMs: 50, maxRetries: 0 });
  await assert.rejects(impatient.job("j1"), /timed out/);
  const nobody = new Photogram({ baseUrl: "http://127.0.0.1:9", maxRetries: 0 });
  await assert.rejects(nobody.models(), ConnectionFailed);
});

test("an id that is no id is never sent", async () => {
  for (const id of ["", "../keys", "a b", "x".repeat(65)]) await assert.rejects(client.job(id), TypeError);
  assert.equal(requests.length, 0);
});

test("the key is not sent to the host of an image elsewhere", async () => {
  answers = [(response) => response.end("png")];
  const elsewhere = new Photogram({ baseUrl: "http://photogram.invalid", apiKey: "secret" });
  await elsewhere.download({ url: `${url}/images/a.png`, width: 8, height: 8 }, "webp");
  assert.deepEqual([requests[0].path, requests[0].headers.authorization], ["/images/a.webp", undefined]);
});

test("events are read from pieces of any size and resumed after the last one", async () => {
  const first = Buffer.from('id: 1\nevent: progress\ndata: {"step":1,"steps":2}\n\nevent: queue\ndata: {"ahead":2,"eta_s":null}\n\nid: 2\nevent: loading\ndata: {"name":"ü"}\n\n');
  const cut = first.indexOf(0xc3) + 1; // within the bytes of one character
  const last = [`id: 3\r\nevent: later\r\ndata: 1\r\n\r\nid: 4\r\nevent: status\r\n`, `data: ${JSON.stringify(DONE)}\r\n\r\n`];
  answers = [stream([first.subarray(0, cut), first.subarray(cut)]), json(503, {}, { "Retry-After": "0" }), stream(last)];
  const events = [];
  for await (const event of client.stream("j1")) events.push(event);
  assert.deepEqual(events, [
    { type: "progress", step: 1, steps: 2 },
    { type: "queue", place: { ahead: 2, eta_s: null } },
    { type: "loading", name: "ü" },
    { type: "status", job: DONE },
  ]);
  assert.deepEqual(requests.map((each) => each.headers["last-event-id"]), [undefined, "2", "2"]);
});

test("a stream that never says anything new is given up after the retries", async () => {
  answers = [stream([]), stream([])];
  const patient = new Photogram({ baseUrl: url, maxRetries: 1 });
  await assert.rejects(async () => {
    for await (const event of patient.stream("j1")) assert.fail(event);
  }, ConnectionFailed);
});

test("generate uploads bytes, waits and returns the images", async () => {
  answers = [json(200, { source: "input:1" }), json(200, { source: "input:2" }), json(202, JOB), json(200, DONE)];
  const { images } = await client.generate("a cat", { image: new Uint8Array([1]), mask: new Blob(["2"]) });
  assert.equal(images[0].url, "/images/a.png");
  const { kind, params } = JSON.parse(requests[2].body);
  assert.deepEqual([kind, params.prompt], ["inpaint", "a cat"]);
  assert.deepEqual([params.image, params.mask.image].sort(), ["input:1", "input:2"]);
});

test("generate rejects with the job that failed", async () => {
  answers = [json(202, JOB), json(200, { ...JOB, status: "failed", error: { code: "x", message: "no memory" } })];
  await assert.rejects(client.generate("a cat"), (error) => error instanceof JobFailed && /no memory/.test(error.message));
});

test("generate cancels the job when its time is over and when it is aborted", async () => {
  answers = [json(202, JOB), json(200, JOB), json(200, JOB)];
  await assert.rejects(client.generate("a cat", {}, { timeoutMs: 1 }), WaitTimeout);
  assert.match(requests.at(-1).path, /cancel$/);
  const stop = new AbortController();
  answers = [json(202, JOB), (response) => stop.abort(new Error("enough")) ?? response, json(200, JOB)];
  await assert.rejects(client.generate("a cat", {}, { signal: stop.signal }), /enough/);
  assert.match(requests.at(-1).path, /cancel$/);
});

test("an agent job is told the answer to its question", async () => {
  answers = [json(200, JOB), json(200, JOB)];
  await client.tell("a", "blue", "q");
  await client.tell("a", "red");
  assert.deepEqual(requests.map((each) => each.path), ["/v1/jobs/a/input", "/v1/jobs/a/input"]);
  assert.deepEqual(requests.map((each) => JSON.parse(each.body)), [{ text: "blue", question: "q" }, { text: "red" }]);
});

test("lists go on to the last page", async () => {
  answers = [json(200, { jobs: [JOB, DONE], next: "c" }), json(200, { jobs: [JOB], next: null })];
  const found = [];
  for await (const job of client.jobs({ status: "queued" })) found.push(job.status);
  assert.deepEqual(found, ["queued", "succeeded", "queued"]);
  assert.deepEqual(requests.map((each) => each.path), ["/v1/jobs?status=queued", "/v1/jobs?status=queued&cursor=c"]);
});

test("images are searched for by words, by bytes and by another image", async () => {
  const found = json(200, { images: [{ id: "i1", similarity: 0.5 }] });
  answers = [found, json(201, { source: "input:9" }), found, found, json(200, { groups: [], total: 0, is_complete: true })];
  const [image] = await client.searchImages({ text: "a cat & more" }, { limit: 2, minSimilarity: 0.5, tag: "x" });
  assert.equal(image.id, "i1");
  await client.searchImages({ image: new Uint8Array([1]) });
  await client.searchImages({ like: "i1" });
  assert.equal((await client.duplicateImages({ maxDistance: 2 })).total, 0);
  assert.deepEqual(requests.map(({ method, path }) => `${method} ${path}`), [
    "GET /v1/images/search?limit=2&tag=x&min_similarity=0.5&text=a+cat+%26+more",
    "POST /v1/inputs",
    "GET /v1/images/search?image=input%3A9",
    "GET /v1/images/search?like=i1",
    "GET /v1/images/duplicates?max_distance=2&limit=20",
  ]);
});
