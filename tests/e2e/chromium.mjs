// Chromium for tests. Each line of input is a JSON list: a command and its arguments. Each line of output is JSON: either
// {result} or {error}.

import { readFile } from "node:fs/promises";
import http from "node:http";
import readline from "node:readline";
import { chromium } from "playwright-core";

const FLAGS = ["disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
  "disable-component-update", "disable-sync"].map((flag) => `--${flag}`);
const TYPES = { html: "text/html", js: "text/javascript" };
const TIMEOUT = 20_000; // milliseconds
const AsyncFunction = (async () => {}).constructor;

const profiles = {}; // the contexts, each with cookies and a storage of its own
const tabs = {};

let browser;

const commands = {
  async launch(executablePath) {
    browser = await chromium.launch({ executablePath, args: FLAGS, chromiumSandbox: false });
  },

  // Serve files by their names in URLs.
  async serve(files, port) {
    const server = http.createServer(async (request, response) => {
      const name = new URL(request.url, "http://localhost").pathname.slice(1) || "index.html";
      response.writeHead(files[name] ? 200 : 404, { "Content-Type": TYPES[name.split(".").pop()] ?? "text/plain" });
      response.end(files[name] && (await readFile(files[name])));
    });
    await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  },

  // Open a URL in a tab of a profile; the options are those of a new profile. Records the responses of other origins.
  async open(tab, profile, url, options) {
    profiles[profile] ??= await browser.newContext(options);
    const page = await profiles[profile].newPage();
    page.setDefaultTimeout(TIMEOUT);
    tabs[tab] = { page, responses: [], errors: [] };
    page.on("pageerror", (error) => tabs[tab].errors.push(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error") tabs[tab].errors.push(`${message.text()} (${message.location().url})`);
    });
    page.on("response", (response) => {
      const { pathname, search, origin } = new URL(response.url());
      const headers = response.headers();
      const remaining = Number(headers["x-ratelimit-remaining"]);
      const method = response.request().method();
      if (origin === new URL(url).origin || method === "OPTIONS") return;
      tabs[tab].responses.push({ method, path: pathname, query: search, status: response.status(), remaining });
    });
    await page.goto(url, { waitUntil: "domcontentloaded" });
  },

  evaluate: (tab, expression) => tabs[tab].page.evaluate(expression),

  // Run JavaScript in this process, with Playwright's page and a value.
  run: (tab, code, value) => new AsyncFunction("page", "value", code)(tabs[tab].page, value),

  // The responses so far, in their order, and the errors of the page.
  responses: (tab) => tabs[tab].responses,
  errors: (tab) => tabs[tab].errors,

  close: (tab) => tabs[tab].page.close(),

  async closeProfile(profile) {
    await profiles[profile]?.close();
    delete profiles[profile];
  },

  quit: () => browser.close(),
};

async function execute([command, ...values]) {
  try {
    return { result: (await commands[command](...values)) ?? null };
  } catch (error) {
    return { error: String(error) };
  }
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await execute(JSON.parse(line)))}\n`);
}
process.exit();
