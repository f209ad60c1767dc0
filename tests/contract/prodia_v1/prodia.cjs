// npm's `prodia`, v1: its base URL is an option.
const { createProdia } = require("prodia");

const [base, apiKey] = process.argv.slice(2);
require("./calls.cjs")(createProdia({ apiKey, base }));
