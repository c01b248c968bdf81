"""The HTTP status of errors that PostgreSQL itself, a pooler in front of it or an extension raises.

sql/README.md documents the table for operators. Errors that Parley's functions raise have their status in the SQLSTATE
(PT404), and those of two foreign keys are rejections of a request: see api/http/errors.py.
"""

CLIENT_ERROR, SERVER_ERROR, UNAVAILABLE = 400, 500, 503

# By class, the first two characters of an SQLSTATE. An outage ends without a change to Parley: the server, its operator
# or a retry ends it. All other classes, and those that PostgreSQL does not define, are bugs in Parley or in code that
# was added to its database.
OUTAGES = {
    "08": "connection exception",
    "25": "invalid transaction state: the database is read-only, or a session was left in a transaction",
    "26": "invalid SQL statement name: a pooler has lost a prepared statement",
    "28": "invalid authorization: the login may not connect, or its password has changed",
    "3D": "invalid catalog name: the database does not exist, for example during a restore",
    "40": "transaction rollback: serialization failure, deadlock",
    "53": "insufficient resources: disk full, out of memory, too many connections",
    "55": "object not in prerequisite state: lock timeout, the database accepts no connections",
    "57": "operator intervention: shutdown, statement timeout, a cancelled statement",
    "58": "system error: the server cannot read or write a file",
    "72": "snapshot failure",
    "F0": "configuration file error",
    "HV": "foreign data wrapper error",
    "XX": "internal error: corrupted data or index; a pooler or PL/Proxy has lost its server",
}
# SQLSTATEs that differ from their class.
OVERRIDES = {
    "22021": (CLIENT_ERROR, "character not in repertoire: text contains NUL"),
    "42501": (UNAVAILABLE, "insufficient privilege: a grant was lost"),
}
# Errors that are due to the state of the session, which a new session may not have: it was opened while the database
# was read-only or had other timeouts, or on a server that has become a replica; or a pooler has replaced its server.
SESSION_SQLSTATES = ("25", "26", "57014")


def get_status(sqlstate: str) -> int:
    """Return the HTTP status of a response to a request whose statement failed with this SQLSTATE."""
    if sqlstate in OVERRIDES:
        return OVERRIDES[sqlstate][0]
    return UNAVAILABLE if sqlstate[:2] in OUTAGES else SERVER_ERROR


def is_session_error(sqlstate: str) -> bool:
    """Return whether another session may succeed, so that this one should be closed."""
    return sqlstate.startswith(SESSION_SQLSTATES)
