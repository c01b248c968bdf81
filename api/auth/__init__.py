"""Authentication: session tokens and cookies, the secrets that sign tokens, and authentication at Pusher."""
