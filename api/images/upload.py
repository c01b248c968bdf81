"""Reads the one file of a multipart/form-data body into a temporary file, and no byte more than it may have."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, cast

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser, parse_options_header
from sanic import Request
from sanic.exceptions import PayloadTooLarge

from api.admission.upload_slots import ROOM, YIELDED, Place
from api.http.errors import ApiError

if TYPE_CHECKING:
    from api.http.protocol import ParleyHttp

FIELD = "image"
MAX_BYTES = 5 * 1024 * 1024
FRAMING_BYTES = 64 * 1024  # of the body, beside the file
MAX_FIELDS = 16
FORM = "multipart/form-data"
SECONDS = 120  # for all of a body: 5 MB over a slow line
WRITER = ThreadPoolExecutor(1, "uploads")  # for disks are slow at times, and the event loop is everybody's


@asynccontextmanager
async def received_image(request: Request, identity: str) -> AsyncIterator[IO[bytes]]:
    """The file in the field `image`, for as long as the block lasts. Raises ApiError: 400, 413, 415 or 503."""
    content_type, options = parse_options_header(request.headers.get("content-type", ""))
    if content_type != FORM:
        raise ApiError(415, f"The body must be sent as Content-Type: {FORM}.")
    with ROOM.open_for(identity), TemporaryFile() as file:
        await receive(request, options.get("boundary", ""), identity, file)
        file.seek(0)
        yield file


async def receive(request: Request, boundary: str, identity: str, file: IO[bytes]) -> None:
    """Writes the field `image` to the file, in a place of its user's. Raises ApiError: 400, 413 or 503."""
    place: Place | None = None
    try:
        async with asyncio.timeout(SECONDS) as deadline:
            with ROOM.place_for(identity, deadline) as place:
                await read_form(request, boundary, file, place)
    except (ParserLimitReached, PayloadTooLarge):
        raise ApiError(413, f"An image may have at most {MAX_BYTES} bytes.") from None
    except MultipartError:
        raise ApiError(400, f"The body is not valid {FORM}.") from None
    except TimeoutError:
        stream_of(request).abandon_body()
        if place and place.is_lost:
            raise ApiError(503, YIELDED) from None
        raise ApiError(400, f"The body took longer than {SECONDS} seconds.") from None


def stream_of(request: Request) -> "ParleyHttp":
    """What the request's body comes from."""
    return cast("ParleyHttp", request.stream)


async def read_form(request: Request, boundary: str, file: IO[bytes], place: Place) -> None:
    """Writes the field `image` to the file. Raises ApiError for another form, MultipartError for none."""
    stream = stream_of(request)
    stream.request_max_size = MAX_BYTES + FRAMING_BYTES

    async def read(_: int) -> bytes:
        data = await stream.read() or b"" if stream.request_body else b""
        place.received += len(data)
        return data

    parser = PushMultipartParser(boundary, max_segment_size=MAX_BYTES, max_segment_count=MAX_FIELDS)
    fields: list[str] = []
    async for event in parser.parse_async(read):
        if isinstance(event, MultipartSegment):
            fields.append(event.name or "")
        elif event and fields == [FIELD]:
            await asyncio.get_running_loop().run_in_executor(WRITER, file.write, event)
    async for _ in stream:  # what may come after the form
        pass
    if stream.protocol.transport:  # Sanic pauses it when much has come, and would not notice when the client leaves
        stream.protocol.transport.resume_reading()
    problems = {name[:100]: "is not a known field" for name in fields if name != FIELD}
    if fields.count(FIELD) != 1:
        problems[FIELD] = "is given twice" if FIELD in fields else "is required"
    if problems:
        raise invalid(problems)


def invalid(problems: dict[str, str]) -> ApiError:
    """The refusal of a form with these fields."""
    return ApiError(400, "The request has invalid fields.", {"fields": problems})
