"""The listener: publishes the events in the outbox to Pusher, and runs maintenance."""
