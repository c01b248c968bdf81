// The live connection of the TypeScript client, for tests, with the line protocol of pusher_client.js: each line of input is
// a command and its arguments, and each line of output is [channel, event, data]. It is copied beside the client's sources.

import readline from "node:readline"
import { createApi } from "./src/http/api.js"
import { createTransport } from "./src/http/transport.js"
import { createConnection } from "./src/live/connection.js"

const print = (channel, event, data = null) => process.stdout.write(`${JSON.stringify([channel, event, data])}\n`)

let connection
const subscriptions = new Map()

const commands = {
  async create(url, token, options) {
    const count = async (request) => {
      print(null, "request", new URLSearchParams(await request.clone().text()).getAll("channel_name[]"))
      return fetch(request)
    }
    const transport = createTransport({ url, getToken: () => token, fetch: count })
    connection = await createConnection(options, createApi(url, transport))
    connection.status.subscribe(() => print(null, connection.status.getSnapshot()))
  },
  connect: () => connection.connect(),
  disconnect: () => connection.disconnect(),
  subscribe(channel) {
    const subscription = connection.subscribe(channel, {
      onSubscribed: (members) => print(channel, "subscribed", members && [...members]),
      onEvent: (event, data, userId) => print(channel, event, userId ?? data),
      onRejected: ({ code }) => print(channel, "rejected", code),
    })
    subscriptions.set(channel, subscription)
  },
  unsubscribe: (channel) => subscriptions.get(channel).unsubscribe(),
  trigger: (channel, event) => subscriptions.get(channel).trigger(event, {}),
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const [command, ...values] = JSON.parse(line)
  await commands[command](...values)
}
