"""The rate limit on each client, and its connection to Redis."""
