"""The example web app of `parley dev --web`: installs its packages, and runs it as a child process.

Its directory is the checkout's, so several stacks share the packages; each has its own directory for Next.js's output.
"""

import hashlib
import http.client
import signal
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from api.dev.data_directory import StartError, format_variables, try_lock, write_private
from api.dev.node import build_environment
from api.dev.process import ChildProcess, Server, fetch_status, poll_until, run

CLIENT = Path(__file__).parents[1] / "client"  # the packages of the client and, in a workspace, of the example
EXAMPLE = CLIENT / "example"
LOCK_FILE = CLIENT / "package-lock.json"
DIGEST_FILE = ".parley-dev"  # a file in a generated directory: the digest of the files from which it was generated
ENVIRONMENT_FILE = ".env.development.local"  # which a production server does not read: it allows the demo sign-in
OWN_ENVIRONMENT_FILE = ".env.local"
GENERATED_MARKER = "# Written by parley dev --web.\n"
NPM_TIMEOUT_SECONDS = 600
INSTALL = ["npm", "ci", "--include=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
BUILD = ["npm", "run", "build"]


class WebApp(Server):
    """The example on a port of 127.0.0.1; ready when its page for the sign-in is.

    `variables` are environment variables, and `command` is Next.js's: `dev`, or `start` after a build. `client` is the
    directory of the client, with its packages.
    """

    name = "the web app"
    # SIGKILL at once: at SIGTERM, Next.js starts a process that sends telemetry, even if that is off. After a crash of
    # the parent, that process ends by itself.
    stop_signals = ()
    attempts = 1  # The port is fixed: another attempt would not help.

    def __init__(
        self, directory: Path, port: int, variables: Mapping[str, str], *, command: str = "dev", client: Path = CLIENT
    ) -> None:
        super().__init__(directory, port)
        self._command, self._client, self._environment = command, client, build_environment(variables)

    def _spawn(self) -> ChildProcess:
        # Not by npm, which would be another process between this one and the server.
        program = self._client / "node_modules/next/dist/bin/next"
        options = ["--hostname", "127.0.0.1", "--port", str(self.port)]
        command: list[str | Path] = ["node", program, self._command, *options]
        return ChildProcess(self.name, command, log=self.log, cwd=self._client / "example", env=self._environment)

    def _is_ready(self) -> bool:
        # A short timeout, because no signal is handled meanwhile. The page is compiled at the first request.
        status = fetch_status(self.port, "/sign-in", seconds=1)
        return status is not None and status < http.client.INTERNAL_SERVER_ERROR


def check_sources() -> None:
    """Check that the example is there, which is part of a checkout but not of a wheel. Raises StartError."""
    if not LOCK_FILE.exists():
        raise StartError(f"--web needs a checkout of Parley's repository: there is no {CLIENT}")


def prepare(directory: Path) -> None:
    """Install the packages of the client and the example, and build the client, unless that was done before.

    `directory` gets npm's log. Raises ProcessFailedError, with the end of the log.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = directory / "npm.log"
    with LOCK_FILE.open("rb") as lock:
        if not poll_until(lambda: try_lock(lock), NPM_TIMEOUT_SECONDS):
            raise StartError(f"another `parley dev` is installing packages in {CLIENT}")
        run_if_changed(CLIENT / "node_modules", [LOCK_FILE], lambda: run_npm("Installing packages", INSTALL, log))
        sources = [LOCK_FILE, *CLIENT.glob("*.json"), *(CLIENT / "src").rglob("*.ts*")]
        run_if_changed(CLIENT / "dist", sources, lambda: run_npm("Building the client", BUILD, log))


def run_if_changed(generated: Path, sources: Iterable[Path], generate: Callable[[], None]) -> None:
    """Generate a directory, unless its digest file shows that it was generated from the same files."""
    digest = hashlib.sha256()
    for path in sorted(set(sources)):
        digest.update(f"{path.relative_to(CLIENT)}\n".encode() + path.read_bytes())
    digest_file = generated / DIGEST_FILE
    if not digest_file.exists() or digest_file.read_text() != digest.hexdigest():
        generate()
        digest_file.write_text(digest.hexdigest())


def run_npm(purpose: str, command: list[str], log: Path) -> None:
    """Run a command of npm in the client's directory. Raises ProcessFailedError."""
    print(f"{purpose} in {CLIENT} …", flush=True)
    run(
        f"`{' '.join(command[:3])}`",
        command,
        seconds=NPM_TIMEOUT_SECONDS,
        log=log,
        cwd=CLIENT,
        env=build_environment({}),
        # After SIGTERM, npm removes what it has installed for up to 20 s, in which another installation fails.
        death_signal=signal.SIGKILL,
    )


def build_variables(environment: Mapping[str, str], port: int) -> dict[str, str]:
    """Return the environment variables of the example on a port, for a stack with these settings."""
    names = ("PUSHER_KEY", "PUSHER_HOST", "PUSHER_PORT", "PUSHER_USE_TLS")
    return {
        # The page calls the API by the page's own host name, so that the API receives its cookies.
        "PARLEY_URL": environment["PUBLIC_URL"].replace("127.0.0.1", "localhost"),
        "IMAGES_URL": environment["PUBLIC_URL"],
        "PUSHER_CLUSTER": "",
        **{name: environment[name] for name in names},
        "AUTH_SECRET": environment["NEXTAUTH_SECRET"],
        "AUTH_URL": f"http://localhost:{port}",
        "AUTH_TRUST_HOST": "true",
        "DEMO_SIGN_IN": "1",
    }


def write_environment(variables: Mapping[str, str]) -> None:
    """Write the variables for an `npm run dev` by hand; keep a file that the user has written."""
    file = EXAMPLE / ENVIRONMENT_FILE
    if (EXAMPLE / OWN_ENVIRONMENT_FILE).exists():
        return  # Next.js would prefer the variables of the new file.
    if file.exists():
        if not file.read_text().startswith(GENERATED_MARKER):
            return
        file.unlink()  # so that the new one is private, whatever the mode of the old one was
    write_private(file, GENERATED_MARKER + format_variables(variables))
