// Every call on images that OpenAI's own client and Vercel's AI SDK make. Arguments: base URL, API key.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const load = createRequire(process.env.NODE_PATH + "/");
const { OpenAI, toFile, BadRequestError } = load("openai");
const { createOpenAI } = load("@ai-sdk/openai");
const { generateImage } = load("ai");

const [baseURL, apiKey] = process.argv.slice(2);
const { prompt, steps } = JSON.parse(readFileSync(0, "utf8"));
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const found = {};

const drawn = await client.images.generate({ prompt, model: "gpt-image-1", n: 2, steps });
found.generated = drawn.data.map((image) => image.b64_json);

const file = await toFile(Buffer.from(found.generated[0], "base64"), "apple.png", { type: "image/png" });
const edited = await client.images.edit({ image: [file], prompt, model: "gpt-image-1", n: 1, size: "64x64" });
found.edited = edited.data[0].b64_json;
found.varied = (await client.images.createVariation({ image: file, response_format: "b64_json" })).data[0].b64_json;

found.streamed = [];
for await (const event of await client.images.generate({ prompt, stream: true, partial_images: 1 }))
  found.streamed.push([event.type, event.b64_json]);

found.models = [];
for await (const model of client.models.list()) found.models.push(model.id);
found.model = await client.models.retrieve("someone/house");

try {
  await client.images.generate({ prompt, n: 11 });
} catch (error) {
  found.refused = [error instanceof BadRequestError, error.code, error.param];
}

const vercel = createOpenAI({ baseURL, apiKey });
found.vercel = (await generateImage({ model: vercel.image("dall-e-3"), prompt, size: "64x64" })).image.base64;
const picture = Buffer.from(found.generated[0], "base64");
const changed = await generateImage({ model: vercel.image("gpt-image-1"), prompt: { text: prompt, images: [picture] } });
found.vercelEdited = changed.image.base64;

process.stdout.write(JSON.stringify(found));
