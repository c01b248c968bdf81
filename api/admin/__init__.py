"""Administration of the database: migrations, drift of the schema, and logins."""
