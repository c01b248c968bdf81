"""The listener: publishes the events that changes record in the outbox to Pusher."""
