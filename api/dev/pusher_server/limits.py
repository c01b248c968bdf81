"""Pusher's limits, and those of this server."""

# Documented by Pusher
MAX_NAME = 200  # characters of an event's name
MAX_CHANNEL_NAME = 164  # characters
MAX_DATA = 10_240  # bytes of an event's data
MAX_BATCH = 10  # events of one request
MAX_CHANNELS = 100  # of one event
MAX_MEMBERS = 100  # users of a presence channel
MAX_USER_ID = 128  # characters
MAX_USER_INFO = 1024  # bytes
MAX_CLIENT_EVENTS = 10  # of one connection in a second
MAX_CLOCK_SKEW_SECONDS = 600

# Of this server
MAX_BODY = 1024 * 1024  # bytes of a request: a batch of the largest events with every character escaped
MAX_MESSAGE = 64 * 1024  # bytes from a client: the largest data with every character escaped
MAX_SUBSCRIPTIONS = 1000  # of one connection
MAX_CONNECTIONS = 10_000
MAX_UNSENT = 1024 * 1024  # bytes that a client leaves unread, besides the kernel's buffer: 100 of the largest events
MAX_TOTAL_UNSENT = 64 * 1024 * 1024  # bytes that all clients together leave unread
SEND_BUFFER_BYTES = 64 * 1024  # of a connection, in the kernel, which doubles it
CLOSE_TIMEOUT_SECONDS = 2  # for the client's part of the closing handshake
