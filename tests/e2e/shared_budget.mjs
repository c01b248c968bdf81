// A Next.js app's rate limit with @upstash/ratelimit, for tests, on a Redis that is not Upstash's. A line that comes in is
// a JSON list: a command and its arguments. The line that goes out is the command's result as JSON.

import readline from "node:readline";
import { Ratelimit } from "@upstash/ratelimit";
import { Redis as Client } from "ioredis";

const clock = Date.now;
const apps = {};

let client;

// What the package asks of Upstash's client. The first line of its scripts has a flag that only Upstash's Redis knows; it
// calls them by the hash of the whole first, and then, since there is no such script, by their text.
const redis = {
  eval: (script, keys, values) => client.eval(script.replace(/^#!lua .*/, ""), keys.length, ...keys, ...values),
  evalsha: (hash, keys, values) => client.evalsha(hash, keys.length, ...keys, ...values),
};
const Redis = { fromEnv: () => redis };

// An app's program: what it makes at its start, and what it does with each request.
function appOf(example) {
  const [start, each] = example.split("\n\n");
  const handler = `async (address) => { ${each}; return { success, limit, remaining, reset } }`;
  return new Function("Ratelimit", "Redis", `${start}; return ${handler}`)(Ratelimit, Redis);
}

const commands = {
  connect(url) {
    client = new Client(url);
  },

  // What becomes of so many requests at once, at a time or else now: whether each may go on, and the answer's headers.
  async take(example, address, times, now) {
    Date.now = now === null ? clock : () => now;
    apps[example] ??= appOf(example);
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
