// A Next.js app's rate limit with @upstash/ratelimit, for tests, on a Redis other than Upstash's. Each line of input is a
// JSON list: a command and its arguments. Each line of output is the result of a command as JSON.

import readline from "node:readline";
import { Ratelimit } from "@upstash/ratelimit";
import { Redis as Client } from "ioredis";

const clock = Date.now;
const apps = {};

let client;

// The methods of Upstash's client that the package calls. The first line of its scripts has a flag that only Upstash's
// Redis supports. The package calls a script by the hash of its whole text first, and then, because that is unknown, by
// its text.
const redis = {
  eval: (script, keys, values) => client.eval(script.replace(/^#!lua .*/, ""), keys.length, ...keys, ...values),
  evalsha: (hash, keys, values) => client.evalsha(hash, keys.length, ...keys, ...values),
};
const Redis = { fromEnv: () => redis };

// Return the request handler of an app: the example has the code that runs at its start and the code of each request.
function createApp(example) {
  const [start, each] = example.split("\n\n");
  const handler = `async (address) => { ${each}; return { success, limit, remaining, reset } }`;
  return new Function("Ratelimit", "Redis", `${start}; return ${handler}`)(Ratelimit, Redis);
}

const commands = {
  connect(url) {
    client = new Client(url);
  },

  // Send requests at once, at a given time or now; return whether each one is allowed, and the headers of its response.
  async sendRequests(example, address, times, now) {
    Date.now = now === null ? clock : () => now;
    apps[example] ??= createApp(example);
    const results = await Promise.all(Array.from({ length: times }, () => apps[example](address)));
    return results.map(({ success, limit, remaining, reset }) => [
      success,
      { "X-RateLimit-Limit": `${limit}`, "X-RateLimit-Remaining": `${remaining}`, "X-RateLimit-Reset": `${reset}` },
    ]);
  },
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const [command, ...values] = JSON.parse(line);
  const result = await commands[command](...values);
  process.stdout.write(`${JSON.stringify(result ?? null)}\n`);
}
process.exit();
