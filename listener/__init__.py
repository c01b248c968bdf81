"""The listener: carries what database triggers record to Pusher."""
