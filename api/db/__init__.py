"""Access to PostgreSQL: the pool of connections, and reads from a replica."""
