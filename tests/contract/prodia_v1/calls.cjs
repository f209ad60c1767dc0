// Makes the calls that standard input names, [call, body, whether to wait], at the same time; writes what came of each.
const { readFileSync } = require("node:fs");

module.exports = async (client) => {
	const answer = async ([call, body, wait]) => {
		try {
			const first = await client[call](body);
			return { first, last: wait ? await client.wait(first) : first };
		} catch (error) {
			return { error: error.message };
		}
	};
	const calls = JSON.parse(readFileSync(0, "utf8"));
	console.log(JSON.stringify(await Promise.all(calls.map(answer))));
};
