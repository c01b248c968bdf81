"use strict";

// A connection of pusher-js, for tests. A line that comes in is a JSON list: a command and its arguments. One that goes
// out is [channel, event, data], of what pusher-js tells whoever listens; the connection's own events have no channel.

const readline = require("node:readline");
const Pusher = require("pusher-js");

let pusher;

function tell(channel, event, data = null) {
  process.stdout.write(`${JSON.stringify([channel, event, data])}\n`);
}

const commands = {
  open(key, options) {
    pusher = new Pusher(key, options);
    pusher.connection.bind("state_change", ({ current }) => tell(null, current));
    pusher.connection.bind("error", ({ error, data }) => tell(null, "error", (error ?? { data }).data));
    pusher.connection.bind("message", ({ event, channel, data }) => channel || tell(null, event, data));
    pusher.user.bind("pusher:signin_error", (data) => tell(null, "pusher:signin_error", data));
  },
  signin() {
    pusher.signin();
  },
  subscribe(channel) {
    pusher.subscribe(channel).bind_global((event, data) => tell(channel, event, data));
  },
  connect() {
    pusher.connect();
  },
  ping() {
    pusher.connection.send_event("pusher:ping", {});
  },
  // Browsers add their cookies by themselves. The XMLHttpRequest that pusher-js brings for node would refuse to send any.
  allowCookies() {
    const createXHR = Pusher.Runtime.createXHR.bind(Pusher.Runtime);
    Pusher.Runtime.createXHR = () => {
      const request = createXHR();
      request.setDisableHeaderCheck(true);
      return request;
    };
  },
};

readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [command, ...values] = JSON.parse(line);
    commands[command](...values);
  })
  .on("close", () => process.exit());
