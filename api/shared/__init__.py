"""What the API and the listener have in common: their settings, logs, metrics and traces.

It is all that the listener imports of `api`, and itself imports nothing of either.
"""
