"""Store, fetch and remove images: storage and the database stay consistent without a common transaction.

The database records which images are in use; sql/functions/images.sql describes the protocol between the two.
"""

import asyncio
import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from api.admission.controller import AdmissionController
from api.db.pool import Database
from api.images.kinds import ImageKind
from api.images.names import NAME
from api.images.reencode_capacity import MAX_SLOTS
from api.images.reencode_process import NamedImage, run_reencoder
from api.images.reencode_slots import ReencodeSlots
from api.images.shared_slots import SharedSlots
from api.images.storage import Storage, StoredObject

logger = logging.getLogger("parley.api")

SLOT_TIMEOUT_SECONDS = 20  # an upload that waits longer for one of these slots gets a 503
CLEANUP_INTERVAL_SECONDS = 3  # Images are removed within seconds of their messages. A query without rows is cheap.
CLEANUP_RETRY_SECONDS = 60  # after the database has failed


class ImageStore:
    """The images in storage: those of profiles and of messages."""

    def __init__(
        self,
        database: Database,
        admission: AdmissionController,
        storage: Storage,
        slots: ReencodeSlots | SharedSlots,
        public_url: str,
    ) -> None:
        self._database, self._admission, self._storage = database, admission, storage
        self._base_url = f"{public_url}/images/"
        self._cleanup_is_due = asyncio.Event()
        self._slots = slots
        # Starting a process would block the event loop for too long.
        self._threads = ThreadPoolExecutor(MAX_SLOTS, "images")

    async def store(
        self, upload: IO[bytes], kind: ImageKind, statement: str, identity: str, request_id: str, *arguments: Any
    ) -> Any:
        """Re-encode and store an upload, and add it to the database; return the row of `statement`.

        `arguments` are those of the statement after the request's ID and before the image's. If this fails, nothing has
        changed, unless the connection broke during the commit.

        Raises ApiError: 400 if the upload is not a valid image, 503 if too many uploads wait; and the errors of the
        database and of the storage.
        """
        async with self._slots.acquire(identity, SLOT_TIMEOUT_SECONDS):
            image = await self._reencode(upload, kind)
            values = {"image_url": self._base_url + image.name, "width": image.width, "height": image.height}
            properties = [values[parameter] for parameter in kind.sql_parameters]
            return await self._commit(image, statement, identity, request_id, *arguments, *properties)

    async def _reencode(self, upload: IO[bytes], kind: ImageKind) -> NamedImage:
        reencoding = asyncio.get_running_loop().run_in_executor(self._threads, run_reencoder, upload, kind)
        try:
            return await asyncio.shield(reencoding)
        except asyncio.CancelledError:  # The client disconnected, but the process still reads the upload.
            await asyncio.wait([reencoding])
            raise

    async def _commit(self, image: NamedImage, statement: str, identity: str, request_id: str, *arguments: Any) -> Any:
        url = self._base_url + image.name
        register_upload = "select api.register_image_upload($3) from session.authenticate($1, $2)"
        async with self._admission.create_permit(identity, is_write=True) as seconds:
            await self._database.fetch_row(register_upload, identity, request_id, url, acquire_seconds=seconds)
            statement_arguments = identity, request_id, *arguments
            async with self._database.transaction(statement, *statement_arguments, acquire_seconds=seconds) as row:
                _, is_replayed = row
                if not is_replayed:
                    await self._storage.put(image.name, image.content)
        self._cleanup_is_due.set()
        return row

    async def fetch(self, name: str, *, size_only: bool = False) -> StoredObject | None:
        """Return an image, or None if there is none of this name. With `size_only` it has no content."""
        return await self._storage.get(name, size_only=size_only) if NAME.fullmatch(name) else None

    async def run_cleanup(self) -> None:
        """Remove unused images now, after each upload and every CLEANUP_INTERVAL_SECONDS, until cancelled."""
        while True:
            self._cleanup_is_due.clear()
            pause = CLEANUP_INTERVAL_SECONDS
            try:
                while name := await self._database.fetch_value("select api.claim_unused_image()"):
                    await self._remove(name)
            except Exception as error:  # The next round tries again.
                logger.warning("Unused images can't be listed; the next cleanup tries again: %r", error)
                pause = CLEANUP_RETRY_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._cleanup_is_due.wait()

    async def _remove(self, name: str) -> None:
        try:
            await self._storage.delete(name)
            await self._database.fetch_value("select api.confirm_image_removal($1)", name)
        except Exception as error:  # The other images are still removed.
            logger.warning("The image %s can't be removed; a later cleanup tries again: %r", name, error)
