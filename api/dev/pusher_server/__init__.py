"""The program of the local Pusher server: Pusher's HTTP API, and version 7 of its WebSocket protocol.

It is for development and tests on one machine: it stores nothing and has no clustering. Limits, codes and responses
are those that Pusher documents, or, if it documents none, those that pusher-js understands. Webhooks, cache channels,
watchlists, subscription counts, and `info` of published events are not implemented.

http_api.py implements the requests of servers, websocket.py the protocol of clients. Both work on channels.py, which
has the subscriptions. connection.py is one client's connection, messages.py validates messages, signatures.py signs
and verifies, and limits.py has all limits. Everything runs in one thread, and no request awaits anything between its
validation and the queueing of its last message, so each subscriber receives events in the order of the responses.
"""
