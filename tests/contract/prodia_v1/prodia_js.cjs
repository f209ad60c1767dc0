// npm's `prodia.js`: its base URL is built in, so what it fetches is led elsewhere.
const [base, apiKey] = process.argv.slice(2);
const direct = globalThis.fetch;
globalThis.fetch = (url, options) => direct(url.replace("https://api.prodia.com/v1", base), options);

const { Prodia } = require("prodia.js");
require("./calls.cjs")(Prodia(apiKey));
