"""The tests: on real PostgreSQL, Valkey and HTTP, from the same wheels as `parley dev`."""
