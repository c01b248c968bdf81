// Sign-in of a web app with its packages, for tests. Each line of input is a JSON list: a command and its arguments. Each
// line of output is the result of a command as JSON.

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

// Return the session cookies among those that a response sets, as a browser sends them.
function sessionCookies(setCookies) {
  return setCookies.map((cookie) => cookie.split(";")[0]).filter((cookie) => cookie.includes("session-token"));
}

// Send a form, or without one a GET, to the handler of Auth.js; return the session cookies.
async function callAuthjs(url, form, options) {
  const post = { method: "POST", body: new URLSearchParams(form) };
  const response = await Auth(new Request(url, form && post), {
    basePath: "/auth",
    trustHost: true,
    skipCSRFCheck,
    ...options,
  });
  return sessionCookies(response.headers.getSetCookie());
}

// Call the handler of NextAuth.js with a request of Next.js; return what it set in the response.
function callNextAuth(request, options) {
  return new Promise((resolve) => {
    const response = { setCookies: [], body: undefined };
    const done = (body) => resolve(Object.assign(response, { body }));
    NextAuth(
      { headers: {}, cookies: {}, body: {}, ...request },
      {
        status() {
          return this;
        },
        getHeader: () => response.setCookies,
        setHeader(name, value) {
          if (name === "Set-Cookie") response.setCookies = value;
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
  // Tokens as the libraries create them; the salt is the name of the cookie.
  nextAuth: (secret, token, maxAge) => nextAuth.encode({ secret, token, maxAge }),
  authjs: (secret, token, maxAge, salt) => authjs.encode({ secret, token, maxAge, salt }),
  jsonwebtoken: (secret, claims, options) => jsonwebtoken.sign(claims, secret, options),

  // The first format of Auth.js, which it still accepts.
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

  // Complete sign-ins, by the handlers that a web app mounts; `more` has further claims of the token.
  async nextAuthSignIn(url, secret, user, more) {
    process.env.NEXTAUTH_URL = url;
    const options = {
      secret,
      providers: [Credentials({ credentials: {}, authorize: () => user })],
      callbacks: { jwt: ({ token }) => ({ ...token, ...more }) },
    };
    const csrf = await callNextAuth({ method: "GET", query: { nextauth: ["csrf"] } }, options);
    const pairs = csrf.setCookies.map((cookie) => cookie.split(";")[0].split("="));
    const signIn = {
      method: "POST",
      query: { nextauth: ["callback", "credentials"] },
      cookies: Object.fromEntries(pairs.map(([name, value]) => [name, decodeURIComponent(value)])),
      body: { csrfToken: csrf.body.csrfToken, json: "true" },
    };
    return sessionCookies((await callNextAuth(signIn, options)).setCookies);
  },
  authjsSignIn: (url, secret, user, more) =>
    callAuthjs(`${url}/auth/callback/credentials`, {}, {
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
    await callAuthjs(`${url}/auth/signin/email`, { email }, options);
    return callAuthjs(link, undefined, options);
  },
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const [command, ...values] = JSON.parse(line);
  const result = await commands[command](...values);
  process.stdout.write(`${JSON.stringify(result ?? null)}\n`);
}
process.exit();
