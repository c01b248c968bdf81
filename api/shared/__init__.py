"""What the API and the listener have in common: how they log, and where their traces go.

It is all that the listener imports of `api`, and itself imports nothing of either.
"""
