"""Profile images: from an upload to storage and back, in step with the database.

The database says which images are in use; sql/functions/images.sql tells how the two are kept together.
"""

import asyncio
import contextlib
import hashlib
import logging
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from api.admission.fair_slots import FairSlots
from api.admission.statements import Admission
from api.db.pool import Database
from api.http.errors import unavailable
from api.images import reencode
from api.images.storage import Storage
from api.images.upload import FIELD, invalid

logger = logging.getLogger("parley.api")

PROGRAM = Path(reencode.__file__).with_name("__main__.py")
SLOTS = 2  # for uploads that are decoded and stored at once, in each worker; one holds a process or a connection
WAIT_SECONDS = 20  # for a slot
PROCESS_SECONDS = 20
CLEANING_SECONDS = 60
SUFFIXES = {"image/gif": ".gif", "image/jpeg": ".jpg", "image/png": ".png"}
CONTENT_TYPES = {suffix: content_type for content_type, suffix in SUFFIXES.items()}
NAME = re.compile(r"[0-9a-f]{64}[.](?:gif|jpg|png)")


@dataclass(frozen=True, slots=True)
class Image:
    """An image as it is stored: its name is the SHA-256 of its content."""

    name: str
    content: bytes


def run_program(upload: IO[bytes]) -> Image:
    """The image in an upload, made by api/reencode. Raises ApiError: 400, or 503 for lack of time."""
    command: list[str | Path] = [sys.executable, "-I", PROGRAM]
    with TemporaryFile() as output:
        try:
            # A session of its own: Ctrl-C is for this process, which lets uploads finish.
            status = subprocess.run(  # noqa: S603 (a program of ours)
                command, stdin=upload, stdout=output, stderr=subprocess.DEVNULL,
                env={}, start_new_session=True, timeout=PROCESS_SECONDS, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            raise unavailable() from None
        output.seek(0)
        first_line, content = output.readline(200).decode(errors="replace").strip(), output.read()
    if status == 0 and first_line in SUFFIXES:
        return Image(hashlib.sha256(content).hexdigest() + SUFFIXES[first_line], content)
    if status == reencode.REFUSED:
        raise invalid({FIELD: first_line})
    logger.warning("An image crashed its decoder, exit status %s", status)
    raise invalid({FIELD: "can't be decoded"})


class Images:
    """The images in storage."""

    def __init__(self, database: Database, admission: Admission, storage: Storage, public_url: str) -> None:
        self._database, self._admission, self._storage = database, admission, storage
        self._base_url = f"{public_url}/images/"
        self._left = asyncio.Event()
        self._slots = FairSlots(SLOTS)
        self._threads = ThreadPoolExecutor(SLOTS, "images")  # to start a process takes too long for the event loop

    async def take(self, upload: IO[bytes], statement: str, identity: str, *request: Any) -> Any:
        """Stores the image in an upload and makes it the user's by the statement; gives the row that this answers.

        `request` is what the statement takes between the identity and the image's URL, the request's id first.

        Raises ApiError: 400 for what is no image, 503 when too many uploads wait; and what the database or the storage
        raises. Then the user has the image that they had, unless the connection broke during the commit.
        """
        async with self._slots.slot(identity, WAIT_SECONDS):
            return await self._keep(await self._decode(upload), statement, identity, *request)

    async def _decode(self, upload: IO[bytes]) -> Image:
        decoding = asyncio.get_running_loop().run_in_executor(self._threads, run_program, upload)
        try:
            return await asyncio.shield(decoding)
        except asyncio.CancelledError:  # the client went away; the process still reads the upload, and holds the slot
            await asyncio.wait([decoding])
            raise

    async def _keep(self, image: Image, statement: str, identity: str, request_id: str, *conditions: Any) -> Any:
        url = self._base_url + image.name
        expect = "select api.register_image_upload($3) from session.authenticate($1, $2)"
        async with self._admission.turn(identity, is_write=True) as seconds:
            await self._database.call_for_row(expect, identity, request_id, url, acquire_seconds=seconds)
            arguments = identity, request_id, *conditions, url
            async with self._database.transaction(statement, *arguments, acquire_seconds=seconds) as row:
                _, is_repeated = row
                if not is_repeated:
                    await self._storage.put(image.name, image.content)
        self._left.set()
        return row

    async def find(self, name: str, *, only_size: bool = False) -> tuple[int, AsyncIterator[bytes]] | None:
        """The size and the content of an image, piece by piece; None where there is none."""
        return await self._storage.get(name, only_size=only_size) if NAME.fullmatch(name) else None

    async def clean(self) -> None:
        """Removes images that nobody uses: now, whenever one was replaced, and every minute; until it is cancelled."""
        while True:
            self._left.clear()
            try:
                while name := await self._database.call("select api.claim_unused_image()"):
                    await self._remove(name)
            except Exception as error:  # whatever it is: this must go on
                logger.warning("Images that nobody uses can't be looked for, which is tried again: %r", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLEANING_SECONDS):
                    await self._left.wait()

    async def _remove(self, name: str) -> None:
        try:
            await self._storage.delete(name)
            await self._database.call("select api.confirm_image_removal($1)", name)
        except Exception as error:  # no image may hold up the others
            logger.warning("The image %s can't be removed, which is tried again: %r", name, error)
