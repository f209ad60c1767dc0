// Runs npm's `prodia/v2`: each job on standard input is [params, accept, inputs, how its inputs are given]; writes what
// came of each, pictures in Base64. Inputs are Base64, given as File, Blob, Uint8Array or ArrayBuffer.
const { createProdia } = require("prodia/v2");

const [baseUrl, token] = process.argv.slice(2);
const prodia = createProdia({ token, baseUrl, maxErrors: 0, maxRetries: 0 });

const given = {
	File: (bytes) => new File([bytes], "mine.png", { type: "image/png" }),
	Blob: (bytes) => new Blob([bytes]),
	Uint8Array: (bytes) => new Uint8Array(bytes),
	ArrayBuffer: (bytes) => new Uint8Array(bytes).buffer,
};

const answer = async ([params, accept, inputs, as]) => {
	const parts = (inputs ?? []).map((input) => given[as](Buffer.from(input, "base64")));
	try {
		const done = await prodia.job(params, { accept: accept ?? undefined, inputs: parts });
		const form = await done.formData();
		const output = form.get("output");
		return {
			job: done.job,
			parts: [...form.keys()],
			name: output?.name,
			type: output?.type,
			output: output && Buffer.from(await done.arrayBuffer()).toString("base64"),
		};
	} catch (error) {
		return { error: error.constructor.name, message: error.message };
	}
};

const main = async () => {
	const jobs = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
	const answers = [];
	for (const job of jobs) answers.push(await answer(job));
	console.log(JSON.stringify(answers));
};

main();
