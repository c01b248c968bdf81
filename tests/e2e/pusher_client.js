"use strict";

// A connection of pusher-js, for tests. Each line of input is a JSON list: a command and its arguments. Each line of output
// is [channel, event, data] of an event that pusher-js emits; those of the connection itself have no channel.

const readline = require("node:readline");
const Pusher = require("pusher-js");

let pusher;

function print(channel, event, data = null) {
  process.stdout.write(`${JSON.stringify([channel, event, data])}\n`);
}

const commands = {
  open(key, options) {
    pusher = new Pusher(key, options);
    pusher.connection.bind("state_change", ({ current }) => print(null, current));
    pusher.connection.bind("error", ({ error, data }) => print(null, "error", (error ?? { data }).data));
    pusher.connection.bind("message", ({ event, channel, data }) => channel || print(null, event, data));
    pusher.user.bind("pusher:signin_error", (data) => print(null, "pusher:signin_error", data));
  },
  signin() {
    pusher.signin();
  },
  subscribe(channel) {
    pusher.subscribe(channel).bind_global((event, data) => print(channel, event, data));
  },
  bind(channel, event) {
    pusher.channel(channel).bind(event, (data, { user_id }) => print(channel, `${event} from`, user_id));
  },
  trigger(channel, event, data) {
    pusher.channel(channel).trigger(event, data);
  },
  connect() {
    pusher.connect();
  },
  ping() {
    pusher.connection.send_event("pusher:ping", {});
  },
  // Browsers add cookies automatically. The XMLHttpRequest of pusher-js for node rejects them by default.
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
