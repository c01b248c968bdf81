"""Authentication: session tokens, the secrets that sign them, and authorization at Pusher."""
