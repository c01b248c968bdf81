"""The schema of a database as pg_dump writes it, to compare two databases."""

import re
import subprocess

from api.dev.postgres import Postgres


def dump(postgres: Postgres, url: str, *options: str) -> str:
    """Return the schema as pg_dump writes it, without partitions and without lines that differ from run to run."""
    excluded = ["--exclude-table=*yoyo*", "--exclude-table=parley.message_words_*"]
    command = [str(postgres.get_program("pg_dump")), "--schema-only", *excluded, *options, url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    noise = r"--|\\(un)?restrict |SET |SELECT pg_catalog.set_config|(GRANT|REVOKE) ALL ON FUNCTION parley.gin_"
    text = re.sub(rf"^({noise}).*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
