"""Code that the API and the listener share: the basics of settings, logs, metrics and traces.

The listener imports nothing else of `api`, and this package imports nothing of either.
"""
