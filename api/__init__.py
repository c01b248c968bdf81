"""Parley's HTTP API: a request except an upload is one SQL statement, whose result is the response body."""
