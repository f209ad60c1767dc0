// Runs Vercel's AI SDK with `@ai-sdk/prodia`: each call on standard input is [kind, model, options]; writes what came of
// each, pictures in Base64.
const { createProdia } = require("@ai-sdk/prodia");
const { generateImage, generateText, experimental_generateVideo: generateVideo } = require("ai");

const [baseURL, apiKey] = process.argv.slice(2);
const prodia = createProdia({ apiKey, baseURL });
const ending = { maxRetries: 0 };

const calls = {
	image: async (model, options) => {
		const { image, providerMetadata, warnings } = await generateImage({ model: prodia.image(model), ...options, ...ending });
		return { files: [[image.mediaType, image.base64]], metadata: providerMetadata.prodia.images[0], warnings };
	},
	language: async (model, { prompt, image, ...options }) => {
		const content = [{ type: "text", text: prompt }];
		if (image) content.push({ type: "file", mediaType: "image/png", data: Buffer.from(image, "base64") });
		const messages = [{ role: "user", content }];
		const done = await generateText({ model: prodia.languageModel(model), messages, ...options, ...ending });
		return { files: done.files.map((file) => [file.mediaType, file.base64]), metadata: done.providerMetadata.prodia };
	},
	video: async (model, options) => generateVideo({ model: prodia.video(model), ...options, ...ending }),
};

const answer = async ([kind, model, options]) => {
	try {
		return await calls[kind](model, options);
	} catch (error) {
		return { error: error.name, message: error.message, status: error.statusCode };
	}
};

const main = async () => {
	const wanted = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
	const answers = [];
	for (const call of wanted) answers.push(await answer(call));
	console.log(JSON.stringify(answers));
};

main();
