"""The multipart/form-data body of an upload: its fields, its syntax and its size."""

import httpx
import pytest

from tests.api.images.support import FORM_HEADERS, IMAGE, IMAGE_PART, PATH, encode_form
from tests.api.support import expect_error, request_head, send_raw
from tests.api_process import Api


@pytest.mark.parametrize(
    ("body", "content_type", "status", "expected_text"),
    [
        (encode_form(IMAGE_PART), "multipart/form-data; boundary=x", 200, "imageUrl"),
        (encode_form(('; name=image; filename="é.png"', IMAGE)), 'Multipart/Form-Data; boundary="x"', 200, "imageUrl"),
        (encode_form(IMAGE_PART) + b"an epilogue", "multipart/form-data; boundary=x", 200, "imageUrl"),
        (encode_form(IMAGE_PART, boundary="y" * 70), f"multipart/form-data; boundary={'y' * 70}", 200, "imageUrl"),
        (encode_form(), "multipart/form-data; boundary=x", 400, '"image": "is required"'),
        (encode_form(("; name=avatar", IMAGE)), "multipart/form-data; boundary=x", 400,
         '"avatar": "is not a known field"'),
        (encode_form(IMAGE_PART, ("; name=b", b"")), "multipart/form-data; boundary=x", 400,
         '"b": "is not a known field"'),
        (encode_form(IMAGE_PART, IMAGE_PART), "multipart/form-data; boundary=x", 400, '"image": "is given twice"'),
        (encode_form(*[IMAGE_PART] * 17), "multipart/form-data; boundary=x", 413, ""),
        (encode_form(("", IMAGE)), "multipart/form-data; boundary=x", 400, ""),
        (encode_form(('; name="image"\r\nX: ' + "y" * 9000, IMAGE)), "multipart/form-data; boundary=x", 413, ""),
        (encode_form(('; name="\u0000"', IMAGE)), "multipart/form-data; boundary=x", 400, ""),
        (encode_form(IMAGE_PART).replace(b"name=", b"name=\xff"), "multipart/form-data; boundary=x", 400, ""),
        (encode_form(IMAGE_PART)[:-8], "multipart/form-data; boundary=x", 400, "not valid"),
        (encode_form(IMAGE_PART), "multipart/form-data; boundary=z", 400, "not valid"),
        (encode_form(IMAGE_PART), "multipart/form-data; boundary=", 400, "not valid"),
        (encode_form(IMAGE_PART), "multipart/form-data", 400, "not valid"),
        (b"", "multipart/form-data; boundary=x", 400, "not valid"),
        (b"\xff" * 100, "multipart/form-data; boundary=x", 400, "not valid"),
        (IMAGE, "image/png", 415, "multipart/form-data"),
        (b"{}", "application/json", 415, "multipart/form-data"),
        (b"image=x", "application/x-www-form-urlencoded", 415, "multipart/form-data"),
        (IMAGE, "", 415, "multipart/form-data"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("chunked", [False, True])
def test_form_must_have_exactly_one_image(
    client: httpx.Client, body: bytes, content_type: str, status: int, expected_text: str, chunked: bool
) -> None:
    pieces = (body[start : start + 17] for start in range(0, len(body), 17))
    response = client.post(PATH, content=pieces if chunked else body, headers={"Content-Type": content_type})
    assert response.status_code == status, response.text
    assert expected_text in response.text
    if status != 200:
        expect_error(response, status)
    assert client.get("/api/profile").status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_oversized_upload_gets_413_before_it_is_sent_completely(api: Api, chunked: bool) -> None:
    part_head = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n'
    piece, size = bytes(1024 * 1024), 10 * 1024**3
    headers = api.headers() | FORM_HEADERS
    if chunked:
        framing, parts = {"Transfer-Encoding": "chunked"}, [b"100000\r\n" + piece + b"\r\n"] * 8
        parts.insert(0, b"%x\r\n" % len(part_head) + part_head + b"\r\n")
    else:
        framing, parts = {"Content-Length": str(size)}, [part_head, *[piece] * 8]
    expect_error(send_raw(api, request_head(f"POST {PATH} HTTP/1.1", headers | framing), *parts), 413)


def test_upload_without_token_gets_401_before_its_body_is_read(api: Api) -> None:
    headers = api.headers("") | FORM_HEADERS | {"Content-Length": "5000000"}
    expect_error(send_raw(api, request_head(f"POST {PATH} HTTP/1.1", headers)), 401)
