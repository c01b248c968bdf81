// What a web app does to sign people in, with the packages that it has, for tests. A line that comes in is a JSON list: a
// command and its arguments. The line that goes out is the command's result as JSON.

import { createRequire } from "node:module";
import readline from "node:readline";
import { Auth, skipCSRFCheck } from "@auth/core";
import * as authjs from "@auth/core/jwt";
import AuthjsCredentials from "@auth/core/providers/credentials";
import PostgresAdapter from "@auth/pg-adapter";
import { hkdf } from "@panva/hkdf";
import { EncryptJWT } from "jose";
import jsonwebtoken from "jsonwebtoken";
import pg from "pg";

const require = createRequire(import.meta.url);
const NextAuth = require("next-auth").default;
const nextAuth = require("next-auth/jwt");
const Credentials = require("next-auth/providers/credentials").default;

let adapter;

// The cookies that carry a session, of all that an answer sets, as a browser sends them back.
function sessionCookies(setCookies) {
  return setCookies.map((cookie) => cookie.split(";")[0]).filter((cookie) => cookie.includes("session-token"));
}

// Has a handler of Auth.js answer a form or, without one, a GET.
async function askAuthjs(url, form, options) {
  const post = { method: "POST", body: new URLSearchParams(form) };
  const answer = await Auth(new Request(url, form && post), {
    basePath: "/auth",
    trustHost: true,
    skipCSRFCheck,
    ...options,
  });
  return sessionCookies(answer.headers.getSetCookie());
}

// Has the handler of NextAuth.js answer; it takes the requests and responses of Next.js.
function askNextAuth(request, options) {
  return new Promise((resolve) => {
    const answer = { setCookies: [], body: undefined };
    const done = (body) => resolve(Object.assign(answer, { body }));
    NextAuth(
      { headers: {}, cookies: {}, body: {}, ...request },
      {
        status() {
          return this;
        },
        getHeader: () => answer.setCookies,
        setHeader(name, value) {
          if (name === "Set-Cookie") answer.setCookies = value;
        },
        json: done,
        send: done,
        end: done,
      },
      options,
    );
  });
}

const commands = {
  // Tokens as the libraries make them; salt is the cookie's name.
  nextAuth: (secret, token, maxAge) => nextAuth.encode({ secret, token, maxAge }),
  authjs: (secret, token, maxAge, salt) => authjs.encode({ secret, token, maxAge, salt }),
  jsonwebtoken: (secret, claims, options) => jsonwebtoken.sign(claims, secret, options),

  // As Auth.js made them first, and still takes them.
  async authjsGcm(secret, token, maxAge, salt) {
    const key = await hkdf("sha256", secret, salt, `Auth.js Generated Encryption Key (${salt})`, 32);
    const jwt = await new EncryptJWT(token)
      .setProtectedHeader({ alg: "dir", enc: "A256GCM" })
      .setIssuedAt()
      .setExpirationTime(Math.floor(Date.now() / 1000) + maxAge)
      .encrypt(key);
    await authjs.decode({ secret, token: jwt, salt });
    return jwt;
  },

  // Whole sign-ins, through the handlers that a web app mounts; `more` goes into the token.
  async nextAuthSignIn(url, secret, user, more) {
    process.env.NEXTAUTH_URL = url;
    const options = {
      secret,
      providers: [Credentials({ credentials: {}, authorize: () => user })],
      callbacks: { jwt: ({ token }) => ({ ...token, ...more }) },
    };
    const csrf = await askNextAuth({ method: "GET", query: { nextauth: ["csrf"] } }, options);
    const pairs = csrf.setCookies.map((cookie) => cookie.split(";")[0].split("="));
    const signIn = {
      method: "POST",
      query: { nextauth: ["callback", "credentials"] },
      cookies: Object.fromEntries(pairs.map(([name, value]) => [name, decodeURIComponent(value)])),
      body: { csrfToken: csrf.body.csrfToken, json: "true" },
    };
    return sessionCookies((await askNextAuth(signIn, options)).setCookies);
  },
  authjsSignIn: (url, secret, user, more) =>
    askAuthjs(`${url}/auth/callback/credentials`, {}, {
      secret,
      providers: [AuthjsCredentials({ authorize: () => user })],
      callbacks: { jwt: ({ token }) => ({ ...token, ...more }) },
    }),

  // Database sessions.
  openDatabase(connectionString) {
    adapter = PostgresAdapter(new pg.Pool({ connectionString, max: 1 }));
    return Object.keys(adapter);
  },
  adapter: (method, argument) => adapter[method](argument),
  addSession: (sessionToken, userId, seconds) =>
    adapter.createSession({ sessionToken, userId, expires: new Date(Date.now() + 1000 * seconds) }),
  async emailSignIn(url, secret, email) {
    let link;
    const provider = { id: "email", type: "email", maxAge: 60, sendVerificationRequest: (sent) => (link = sent.url) };
    const options = { secret, adapter, providers: [provider] };
    await askAuthjs(`${url}/auth/signin/email`, { email }, options);
    return askAuthjs(link, undefined, options);
  },
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const [command, ...values] = JSON.parse(line);
  const result = await commands[command](...values);
  process.stdout.write(`${JSON.stringify(result ?? null)}\n`);
}
process.exit();
