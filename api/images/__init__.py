"""Profile images: receiving, re-encoding, storing and serving them."""
