"""Objects by name, in the directory or bucket that STORAGE_URL names."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import NotFoundError
from obstore.store import LocalStore, S3Store

SECONDS = 10  # that an operation may take
STALE_SECONDS = 600  # after which a file that was being written belongs to a process that was killed
CHUNK_BYTES = 256 * 1024
READS = 32  # objects that each worker opens at once: anybody may request images, and no limit bounds how many


def directory_of(url: str) -> Path | None:
    """The directory of a file URL, or None for an s3 URL. Raises ValueError for what is neither."""
    scheme, separator, rest = url.partition("://")
    if scheme == "file" and rest.startswith(("/", "./")):
        return Path(unquote(rest)).resolve()
    if scheme == "s3" and separator and urlsplit(url).hostname and not any(mark in rest for mark in "@?#"):
        return None
    raise ValueError("must be like file:///var/lib/parley/images, file://./images or s3://bucket/prefix")


class Storage:
    """The operations on objects; each raises obstore's errors or TimeoutError when the storage is away."""

    def __init__(self, store: LocalStore | S3Store) -> None:
        self._store = store
        self._reads = asyncio.Semaphore(READS)

    @classmethod
    def open(cls, url: str) -> Self:
        """Opens the storage; makes the directory of a file URL, and raises OSError if it can't be written to.

        A bucket's region, credentials and endpoint are in the environment, under the names that AWS gave them.
        """
        if directory := directory_of(url):
            directory.mkdir(parents=True, exist_ok=True)
            if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(None, "Permission denied", str(directory))
            remove_stale_files(directory)
            return cls(LocalStore(directory))
        return cls(
            S3Store.from_url(
                url,
                # http is for an AWS_ENDPOINT_URL that says so: others are https.
                client_options={"connect_timeout": "2s", "read_timeout": f"{SECONDS}s", "allow_http": True},
                retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=SECONDS)},
            )
        )

    async def put(self, name: str, content: bytes) -> None:
        """Stores an object for good, in place of one of the same name."""
        async with asyncio.timeout(SECONDS):
            await obstore.put_async(self._store, name, content, use_multipart=False)
            if isinstance(self._store, LocalStore):
                await asyncio.to_thread(flush, Path(self._store.prefix or "") / name)

    async def get(self, name: str, *, only_size: bool = False) -> tuple[int, AsyncIterator[bytes]] | None:
        """Return the size of an object and its content, piece by piece; None where there is none.

        With `only_size` there is no content: a bucket would begin to send what nobody reads.
        """
        try:
            async with asyncio.timeout(SECONDS), self._reads:
                found = await obstore.get_async(self._store, name, options={"head": only_size})
        except (NotFoundError, FileNotFoundError):
            return None
        return found.meta["size"], (bytes(piece) async for piece in found.stream(CHUNK_BYTES))

    async def delete(self, name: str) -> None:
        """Deletes an object; it may be gone already."""
        try:
            async with asyncio.timeout(SECONDS):
                await obstore.delete_async(self._store, name)
        except (NotFoundError, FileNotFoundError):
            pass


def flush(path: Path) -> None:
    """Writes a file and its entry in the directory to disk, as the database does with what it acknowledges."""
    for place in (path, path.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_stale_files(directory: Path) -> None:
    """Removes what was half written when a process was killed: files are written as NAME#NUMBER, then renamed."""
    for path in directory.glob("*#*"):
        with contextlib.suppress(FileNotFoundError):  # others store and clean there too
            if path.stat().st_mtime < time.time() - STALE_SECONDS:
                path.unlink()
