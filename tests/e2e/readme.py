"""The READMEs, and the blocks of shell in them."""

import re
from dataclasses import dataclass, field

from tests import ROOT

README = (ROOT / "README.md").read_text()
SQL_README = (ROOT / "sql" / "README.md").read_text()
# Blocks that the tests of the READMEs do not run, by their first words, each with the reason.
ELSEWHERE = {
    "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/pytest": "runs these tests; in .ci/run",
    "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/python -m tests.bench": "takes 15 minutes",
    "(umask 077; set -C; for name in": "tests/e2e/compose/test_file.py runs it",
    "docker compose up": "needs Docker and its images; tests/e2e/compose/test_services.py runs what it starts",
    "DATABASE_URL=postgresql://postgres@db/parley PGPASSWORD=": "tests/e2e/test_restore_drill.py runs the script so",
}


@dataclass
class Step:
    """A block of shell, and its documented output."""

    command: str
    printed: list[str] = field(default_factory=list)


def find_section(text: str, heading: str) -> str:
    """Return the section of a heading, up to the next one of its level."""
    level = heading.split(maxsplit=1)[0]
    start = text.index(f"\n{heading}\n")
    end = re.search(rf"^#{{2,{len(level)}}} ", text[start + len(heading) + 2 :], flags=re.MULTILINE)
    return text[start:][: end and end.start() + len(heading) + 2]


def parse_steps(text: str) -> list[Step]:
    """Return the blocks of shell in a text, each with the JSON that follows it."""
    found: list[Step] = []
    for language, block in re.findall(r"^```(sh|json)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        if language == "sh":
            found.append(Step(block))
        else:
            found[-1].printed += block.splitlines()
    return found


START = parse_steps(find_section(README, "## Quick start"))[0]
TOUR = parse_steps(find_section(README, "## A tour in five minutes"))
DEPLOYMENT = parse_steps(find_section(README, "### Without Docker"))
DATABASE = [step for step in parse_steps(SQL_README) if not step.command.startswith(tuple(ELSEWHERE))]
