"""HTTP/1.1: the parser, the protocol, and what every request and response has in common."""
