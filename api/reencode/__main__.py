"""The program: standard input is the upload, standard output the image.

Exit status 0: the first line of the output is the content type, the rest is the image. REFUSED: the output is what is
wrong with the upload, as validation errors word it. Any other status is a crash.
"""

import sys
from pathlib import Path

if not __package__:  # With -I, Python finds neither the project's directory nor that of the script.
    sys.path.insert(0, str(Path(__file__).parents[2]))

from api.reencode import REFUSED, RefusedError, gif, jpeg, limit_output, limit_this_process, png


def reencode(upload: bytes) -> tuple[str, bytes]:
    """Return the content type and the content of the image in an upload.

    Raises RefusedError, or anything else for what is not a whole image.
    """
    if upload.startswith(gif.SIGNATURES):
        content_type, content = "image/gif", gif.reencode(upload)
    elif upload.startswith(png.SIGNATURE):
        content_type, content = "image/png", png.reencode(upload)
    else:
        content_type, content = "image/jpeg", jpeg.reencode(upload)
    return content_type, b"".join(limit_output([content]))


def main() -> int:
    """Re-encode standard input; return the exit status."""
    limit_this_process()
    try:
        content_type, content = reencode(sys.stdin.buffer.read())
    except RefusedError as error:
        print(error)
        return REFUSED
    except Exception:  # Pillow and struct raise all kinds.
        print("must be a whole JPEG, PNG or GIF image")
        return REFUSED
    sys.stdout.buffer.write(content_type.encode() + b"\n" + content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
