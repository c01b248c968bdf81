"""Object storage: the directory or the S3 bucket in STORAGE_URL."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import NotFoundError
from obstore.store import LocalStore, S3Store

TIMEOUT_SECONDS = 10  # of each operation
CONNECT_TIMEOUT_SECONDS = 2
MAX_RETRIES = 2
PARTIAL_FILE_MAX_AGE_SECONDS = 600  # far longer than a write takes: the process that wrote an older file was killed
CHUNK_BYTES = 256 * 1024
MAX_CONCURRENT_READS = 32  # by each worker; requests for images need no token and have no rate limit


class StoredObject(NamedTuple):
    """An object that was opened for reading."""

    size: int  # bytes
    chunks: AsyncIterator[bytes]


def parse_storage_url(url: str) -> Path | None:
    """Return the directory of a file URL, or None for an S3 URL. Raises ValueError if the URL is neither."""
    scheme, separator, rest = url.partition("://")
    if scheme == "file" and rest.startswith(("/", "./")):
        return Path(unquote(rest)).resolve()
    if scheme == "s3" and separator and urlsplit(url).hostname and not any(mark in rest for mark in "@?#"):
        return None
    raise ValueError("must be like file:///var/lib/parley/images, file://./images or s3://bucket/prefix")


class Storage:
    """Stores objects by name. Its methods raise obstore's errors, or TimeoutError, if the storage is unavailable."""

    def __init__(self, store: LocalStore | S3Store) -> None:
        self._store = store
        self._reads = asyncio.Semaphore(MAX_CONCURRENT_READS)

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the storage at a URL; create the directory of a file URL. Raises OSError if it is not writable.

        A bucket's region, credentials and endpoint are in the environment variables of the AWS SDK.
        """
        if directory := parse_storage_url(url):
            directory.mkdir(parents=True, exist_ok=True)
            if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(None, "Permission denied", str(directory))
            remove_partial_files(directory)
            return cls(LocalStore(directory))
        return cls(
            S3Store.from_url(
                url,
                # Plain HTTP is used only if AWS_ENDPOINT_URL has that scheme.
                client_options={
                    "connect_timeout": f"{CONNECT_TIMEOUT_SECONDS}s",
                    "read_timeout": f"{TIMEOUT_SECONDS}s",
                    "allow_http": True,
                },
                retry_config={"max_retries": MAX_RETRIES, "retry_timeout": timedelta(seconds=TIMEOUT_SECONDS)},
            )
        )

    async def put(self, name: str, content: bytes) -> None:
        """Store an object durably; overwrite an existing one."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await obstore.put_async(self._store, name, content, use_multipart=False)
            if isinstance(self._store, LocalStore):
                await asyncio.to_thread(fsync_file, Path(self._store.prefix or "") / name)

    async def get(self, name: str, *, size_only: bool = False) -> StoredObject | None:
        """Open an object, or return None if there is none of this name.

        With `size_only`, the object has no chunks, and a bucket sends no content.
        """
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS), self._reads:
                result = await obstore.get_async(self._store, name, options={"head": size_only})
        except (NotFoundError, FileNotFoundError):
            return None
        return StoredObject(result.meta["size"], (bytes(chunk) async for chunk in result.stream(CHUNK_BYTES)))

    async def delete(self, name: str) -> None:
        """Delete an object, if it exists."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await obstore.delete_async(self._store, name)
        except (NotFoundError, FileNotFoundError):
            pass


def fsync_file(path: Path) -> None:
    """Flush a file and its directory entry to disk: a committed row in the database must not refer to a lost file."""
    for synced in (path, path.parent):
        descriptor = os.open(synced, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_partial_files(directory: Path) -> None:
    """Remove the files of killed processes: obstore writes to NAME#NUMBER, then renames the file to NAME."""
    for path in directory.glob("*#*"):
        with contextlib.suppress(FileNotFoundError):  # Other processes use the directory at the same time.
            if path.stat().st_mtime < time.time() - PARTIAL_FILE_MAX_AGE_SECONDS:
                path.unlink()
