"""Parley's HTTP API: one SQL statement a request, its answer passed on as it is."""
