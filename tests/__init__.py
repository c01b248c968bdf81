"""The tests; tests/README.md tells how to run them."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
