// The page of a chat app: the list of chats, and the messages of one open chat. live.js, the README's example, is loaded before
// it, and calls addUsers(), show() and apply().

const chats = new Map(), users = new Map()
const open = { chatId: null, messages: new Map() }

function addUsers(added) {
  for (const user of added) users.set(user.id, user)
  render()
}

// Replace everything by the state.
function show(state) {
  chats.clear()
  for (const chat of state.chats) chats.set(chat.id, chat)
  addUsers([state.user])
}

// Apply the next event of a chat. Returns what the page does not know: "events", if there is a gap, or "state".
function apply({ chatId, seq, event, data, user, chat: newChat }) {
  const chat = chats.get(chatId)
  if (user) users.set(user.id, user)
  if (event === "chat:deleted" || (event === "member:removed" && data === userId)) chats.delete(chatId)
  else if (newChat && !(chat?.seq >= newChat.seq)) addChat(newChat)
  else if (!chat) return "state"
  else if (seq > chat.seq + 1) return "events"
  else if (seq > chat.seq) {
    chat.seq = seq
    if (!change(chat, event, data)) return "state"
  }
  render()
}

// A chat that the user was added to, or added to again.
function addChat(chat) {
  chats.set(chat.id, chat)
  if (chat.lastMessage) users.set(chat.lastMessage.userId, chat.lastMessage.author)
}

// Change a chat as an event reports. Returns false if the event does not have all that the page shows.
function change(chat, event, data) {
  switch (event) {
    case "message:sent":
      return addMessage(chat, data)
    case "message:updated":
      if (chat.lastMessage?.id === data.id) Object.assign(chat.lastMessage, data.updates)
      if (open.messages.has(data.id)) Object.assign(open.messages.get(data.id), data.updates)
      return !data.truncated
    case "message:deleted":
      open.messages.delete(data)
      if (data > (chat.lastReadMessageId ?? "")) chat.unreadCount -= 1
      return chat.lastMessage?.id !== data
    case "chat:updated":
      if (data.updates.title) chat.title = data.updates.title
      return true
    case "chat:read":
      if (data.userId === userId) {
        Object.assign(chat, { unreadCount: data.unreadCount, lastReadMessageId: data.lastReadMessageId })
      }
      return true
    case "member:added":
      chat.memberCount += 1
      return true
    case "member:removed":
      chat.memberCount -= 1
      return true
    default:
      return true
  }
}

// Message ids ascend with time. A repeated message changes nothing.
function addMessage(chat, message) {
  if (message.deleted || message.id <= (chat.lastMessage?.id ?? "")) return true
  chat.lastMessage = message
  if (message.userId === userId) Object.assign(chat, { unreadCount: 0, lastReadMessageId: message.id })
  else chat.unreadCount += 1
  if (chat.id === open.chatId) open.messages.set(message.id, message)
  return users.has(message.userId) && !message.truncated
}

// Show the messages of a chat. The channel of a large chat is its own, whose events have no seq.
async function openChat(chatId) {
  const { channel } = chats.get(chatId)
  if (channel.startsWith("private-chat-")) {
    const subscribed = pusher.subscribe(channel)
    subscribed.bind("message:sent", (message) => {
      if (!addMessage(chats.get(chatId), message)) sync("state")
      render()
    })
    await new Promise((resolve) => subscribed.bind("pusher:subscription_succeeded", resolve))
  }
  const page = await request(`/api/chats/${chatId}/messages?include=users`)
  open.chatId = chatId
  for (const message of page.messages.reverse()) open.messages.set(message.id, message)
  addUsers(page.users)
}

function render() {
  const row = (...cells) => {
    const item = document.createElement("li")
    item.append(...cells.map((cell) => Object.assign(document.createElement("span"), { textContent: cell })))
    return item
  }
  const name = (message) => users.get(message.userId)?.name ?? ""
  const listed = [...chats.values()].sort((a, b) => ((a.lastMessage ?? a).id < (b.lastMessage ?? b).id ? 1 : -1))
  document.querySelector("#chats").replaceChildren(...listed.map((chat) => row(
    chat.title, chat.memberCount, chat.unreadCount, chat.lastMessage ? name(chat.lastMessage) : "",
    chat.lastMessage?.content ?? "")))
  document.querySelector("#messages").replaceChildren(
    ...[...open.messages.values()].map((message) => row(name(message), message.content)))
}
