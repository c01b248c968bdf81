"""The rate limit of an address, and its connection to Redis."""
