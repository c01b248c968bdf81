"""The output of `parley db check`, and drift that is found and fixed."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.database import Connection


@dataclass
class Checked:
    """The exit status and the output of `parley db check`."""

    status: int
    output: str

    @property
    def findings(self) -> list[str]:
        """The findings, without the lines that fix them."""
        lines = self.output.splitlines()[:-1]
        return [line for line in lines if not line.startswith(("    ", "remark: "))]

    @property
    def remarks(self) -> list[str]:
        """The remarks, without those on unused indexes."""
        lines = [line.removeprefix("remark: ") for line in self.output.splitlines() if line.startswith("remark: ")]
        return [line for line in lines if " has not been used since " not in line]

    @property
    def fixes(self) -> list[str]:
        """The lines that fix the findings, in their order."""
        return [line.removeprefix("    ") for line in self.output.splitlines() if line.startswith("    ")]


Check = Callable[[], Checked]
Fix = Callable[[Checked], None]


def assert_found_and_fixed(check: Check, dba: Connection, fix: Fix, change: str, findings: list[str]) -> None:
    """Execute a change; assert that `parley db check` reports these findings, and that their lines fix them."""
    dba.execute(change)
    checked = check()
    assert checked.status == 1
    # `cascade` drops further objects, which are found as well.
    assert set(findings) <= set(checked.findings)
    if "cascade" not in change:
        assert sorted(checked.findings) == sorted(findings)
    fix(checked)
    checked = check()
    assert (checked.status, checked.findings) == (0, []), checked.output
