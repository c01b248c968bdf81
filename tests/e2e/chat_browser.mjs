// Chromium with pages of a chat app, for tests. Each line of input is a JSON list: a command and its arguments. Each line of
// output is the result of a command as JSON.

import { readFile } from "node:fs/promises";
import http from "node:http";
import readline from "node:readline";
import { chromium } from "playwright-core";

const FLAGS = ["disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
  "disable-component-update", "disable-sync"].map((flag) => `--${flag}`);
const TYPES = { html: "text/html", js: "text/javascript" };

const profiles = {}; // the contexts, each with cookies and a storage of its own
const tabs = {};

let browser;
let origin;

// Serve files by their names in URLs.
async function serve(files, port) {
  const server = http.createServer(async (request, response) => {
    const name = new URL(request.url, origin).pathname.slice(1) || "index.html";
    response.writeHead(files[name] ? 200 : 404, { "Content-Type": TYPES[name.split(".").pop()] ?? "text/plain" });
    response.end(files[name] && (await readFile(files[name])));
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${port}`;
}

const commands = {
  async launch(executablePath, files, port) {
    await serve(files, port);
    browser = await chromium.launch({ executablePath, args: FLAGS, chromiumSandbox: false });
  },

  // Open a page in a tab of a profile. The page gets the options in its fragment.
  async open(tab, profile, page, options) {
    profiles[profile] ??= await browser.newContext();
    const opened = await profiles[profile].newPage();
    tabs[tab] = { page: opened, responses: [], errors: [] };
    opened.on("pageerror", (error) => tabs[tab].errors.push(String(error)));
    opened.on("console", (message) => message.type() === "error" && tabs[tab].errors.push(message.text()));
    opened.on("response", (response) => {
      const { pathname, origin: server } = new URL(response.url());
      const headers = response.headers();
      const remaining = Number(headers["x-ratelimit-remaining"]);
      const result = { method: response.request().method(), path: pathname, status: response.status(), remaining };
      if (server !== origin && result.method !== "OPTIONS") tabs[tab].responses.push(result);
    });
    const url = `${origin}/${page}#${encodeURIComponent(JSON.stringify(options))}`;
    await opened.goto(url, { waitUntil: "domcontentloaded" });
  },

  evaluate: (tab, expression) => tabs[tab].page.evaluate(expression),

  // The API's responses so far, in their order, and the errors of the page.
  responses: (tab) => tabs[tab].responses,
  errors: (tab) => tabs[tab].errors,

  close: (tab) => tabs[tab].page.close(),
  quit: () => browser.close(),
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const [command, ...values] = JSON.parse(line);
  const result = await commands[command](...values);
  process.stdout.write(`${JSON.stringify(result ?? null)}\n`);
}
process.exit();
