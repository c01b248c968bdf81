"""Receive the one file of a multipart/form-data body into a temporary file, within limits on its size and time."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, cast

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser, parse_options_header
from sanic import Request
from sanic.exceptions import PayloadTooLarge

from api.http.errors import ApiError
from api.images.upload_slots import EVICTED_MESSAGE, UPLOAD_SLOTS, UploadSlot

if TYPE_CHECKING:
    from api.http.protocol import HttpConnection

FIELD = "image"
MAX_IMAGE_BYTES = 5 * 1024 * 1024
MAX_OVERHEAD_BYTES = 64 * 1024  # of the body besides the file: boundaries, part headers, an epilogue
MAX_FIELDS = 16  # enough to report all unknown fields of an ordinary form in one response
MAX_FIELD_NAME_CHARACTERS = 100  # in an error response; the rest is cut off
MEDIA_TYPE = "multipart/form-data"
TIMEOUT_SECONDS = 120  # for the whole body: 5 MiB at 350 kbit/s
WRITER = ThreadPoolExecutor(1, "uploads")  # A slow disk must not block the event loop.


@asynccontextmanager
async def receive_image(request: Request, identity: str) -> AsyncIterator[IO[bytes]]:
    """Receive the file in the field `image`; it is deleted when the block ends.

    Raises ApiError: 400, 413, 415, or 503 if the worker has no room for the upload.
    """
    content_type, options = parse_options_header(request.headers.get("content-type", ""))
    if content_type != MEDIA_TYPE:
        raise ApiError(415, f"The body must be sent as Content-Type: {MEDIA_TYPE}.")
    with UPLOAD_SLOTS.register(identity), TemporaryFile() as file:
        await receive_body(request, options.get("boundary", ""), identity, file)
        file.seek(0)
        yield file


async def receive_body(request: Request, boundary: str, identity: str, file: IO[bytes]) -> None:
    """Write the field `image` of the body to `file`, while the upload holds a slot. Raises ApiError."""
    slot: UploadSlot | None = None
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS) as deadline:
            with UPLOAD_SLOTS.acquire(identity, deadline) as slot:
                await parse_form(request, boundary, file, slot)
    except (ParserLimitReached, PayloadTooLarge):
        raise ApiError(413, f"An image may have at most {MAX_IMAGE_BYTES} bytes.") from None
    except MultipartError:
        raise ApiError(400, f"The body is not valid {MEDIA_TYPE}.") from None
    except TimeoutError:
        get_stream(request).abandon_body()
        if slot and slot.is_evicted:
            raise ApiError(503, EVICTED_MESSAGE) from None
        raise ApiError(400, f"The body took longer than {TIMEOUT_SECONDS} seconds.") from None


def get_stream(request: Request) -> "HttpConnection":
    """Return the stream of the request's body, with its type."""
    return cast("HttpConnection", request.stream)


async def parse_form(request: Request, boundary: str, file: IO[bytes], slot: UploadSlot) -> None:
    """Write the field `image` to `file`. Raises ApiError for other fields, MultipartError for a malformed form."""
    stream = get_stream(request)
    stream.request_max_size = MAX_IMAGE_BYTES + MAX_OVERHEAD_BYTES

    async def read(_: int) -> bytes:
        data = await stream.read() or b"" if stream.request_body else b""
        slot.received_bytes += len(data)
        return data

    parser = PushMultipartParser(boundary, max_segment_size=MAX_IMAGE_BYTES, max_segment_count=MAX_FIELDS)
    fields: list[str] = []
    async for event in parser.parse_async(read):
        if isinstance(event, MultipartSegment):
            fields.append(event.name or "")
        elif event and fields == [FIELD]:
            await asyncio.get_running_loop().run_in_executor(WRITER, file.write, event)
    async for _ in stream:  # Discard the epilogue.
        pass
    # Sanic pauses reading while its buffer is full, and would not notice that the client disconnects.
    if stream.protocol.transport:
        stream.protocol.transport.resume_reading()
    check_fields(fields)


def check_fields(fields: list[str]) -> None:
    """Raise ApiError 400 unless the form has exactly the field `image`."""
    errors = {name[:MAX_FIELD_NAME_CHARACTERS]: "is not a known field" for name in fields if name != FIELD}
    if fields.count(FIELD) != 1:
        errors[FIELD] = "is given twice" if FIELD in fields else "is required"
    if errors:
        raise validation_error(errors)


def validation_error(fields: dict[str, str]) -> ApiError:
    """Return the 400 for a form with these invalid fields."""
    return ApiError(400, "The request has invalid fields.", {"fields": fields})
