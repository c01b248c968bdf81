"""Bounds on the work in flight, so that no user or kind of request holds up all others."""
