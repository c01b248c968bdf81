"""Re-encode the upload on standard input, and write the image to standard output.

Exit status 0: the first line of the output is the content type, the rest is the image. EXIT_REJECTED: the output is
the validation error. Any other status is a crash.
"""

import sys
from pathlib import Path

if not __package__:  # With -I, neither the project's nor the script's directory is on sys.path.
    sys.path.insert(0, str(Path(__file__).parents[3]))

from api.images.reencode.formats import detect_format
from api.images.reencode.limits import EXIT_REJECTED, RejectedError, limit_output, limit_process


def reencode(upload: bytes) -> tuple[str, bytes]:
    """Return the content type and the content of the re-encoded image.

    Raises RejectedError, or any other exception if the upload is not a complete image of an accepted format.
    """
    image_format = detect_format(upload)
    content = image_format.reencode(upload)
    return image_format.content_type, b"".join(limit_output([content]))


def main() -> int:
    """Re-encode standard input; return the exit status."""
    limit_process()
    try:
        content_type, content = reencode(sys.stdin.buffer.read())
    except RejectedError as error:
        print(error)
        return EXIT_REJECTED
    except Exception:  # Pillow and struct raise many types of exceptions for malformed images.
        print("must be a complete JPEG, PNG or GIF image")
        return EXIT_REJECTED
    sys.stdout.buffer.write(content_type.encode() + b"\n" + content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
