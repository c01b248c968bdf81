"""The tests; see tests/README.md."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
