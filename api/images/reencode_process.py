"""Run the program in reencode/ on an upload, in a process of its own."""

import logging
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from api.http.errors import ApiError, unavailable
from api.images import reencode
from api.images.kinds import ImageKind
from api.images.names import SUFFIXES
from api.images.reencode.limits import EXIT_REJECTED, SCALE_DOWN
from api.images.upload import FIELD, validation_error

logger = logging.getLogger("parley.api")

PROGRAM = Path(reencode.__file__).with_name("__main__.py")
TIMEOUT_SECONDS = 20  # real time; limits.CPU_SECONDS bounds the CPU time, of which a busy machine gives less
MAX_FIRST_LINE_BYTES = 200  # of the output: the content type and size, or a validation error
KILLED_MESSAGE = "The service has run out of memory to decode images; try again later."
FIRST_LINE = re.compile(r"(image/\w+) (\d+) (\d+)", re.ASCII)  # of an image


@dataclass(frozen=True, slots=True)
class NamedImage:
    """An image as it is stored, with its size in pixels."""

    name: str
    width: int
    height: int
    content: bytes


def run_reencoder(upload: IO[bytes], kind: ImageKind) -> NamedImage:
    """Return the re-encoded image. Blocks until the process exits.

    Raises ApiError: 400 if the upload is not a valid image, 503 if the process takes longer than TIMEOUT_SECONDS, or if
    the kernel kills it because memory runs out.
    """
    command: list[str | Path] = [sys.executable, "-I", PROGRAM, str(os.getpid()), *[SCALE_DOWN] * kind.scale_down]
    with TemporaryFile() as output:
        try:
            # In a session of its own, the process does not receive Ctrl-C: the API finishes uploads before it exits.
            status = subprocess.run(  # noqa: S603 (the command has no user input)
                command, stdin=upload, stdout=output, stderr=subprocess.DEVNULL,
                env={}, start_new_session=True, timeout=TIMEOUT_SECONDS, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            raise unavailable() from None
        output.seek(0)
        first_line = output.readline(MAX_FIRST_LINE_BYTES).decode(errors="replace").strip()
        content = output.read()
    if status == 0 and (found := FIRST_LINE.fullmatch(first_line)) and found[1] in SUFFIXES:
        return NamedImage(kind.create_name(content, found[1]), int(found[2]), int(found[3]), content)
    if status == EXIT_REJECTED:
        raise validation_error({FIELD: first_line})
    if status == -signal.SIGKILL:
        logger.error("A decoder of images was killed: memory has run out; see WORKERS in the README")
        raise ApiError(503, KILLED_MESSAGE)
    logger.warning("An image crashed its decoder, exit status %s", status)
    raise validation_error({FIELD: "can't be decoded"})
