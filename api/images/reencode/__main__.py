"""Re-encode the upload on standard input, and write the image to standard output.

The first argument is the ID of the parent process. With the argument SCALE_DOWN, a still image larger than MAX_SIDE is
scaled down instead of rejected.

Exit status 0: the first line of the output is the content type, the width and the height, the rest is the image.
EXIT_REJECTED: the output is the validation error. Any other status is a crash.
"""

import sys
from pathlib import Path

if not __package__:  # With -I, neither the project's nor the script's directory is on sys.path.
    sys.path.insert(0, str(Path(__file__).parents[3]))

# Pillow imports these when it first needs them, which the sandbox would deny.
from PIL import Image, ImageColor, ImageFilter, ImagePalette, MpoImagePlugin, TiffImagePlugin  # noqa: F401

from api.images.reencode.encoded_image import EncodedImage
from api.images.reencode.formats import detect_format
from api.images.reencode.limits import EXIT_REJECTED, SCALE_DOWN, RejectedError, limit_output, limit_process
from api.images.reencode.sandbox import end_with_parent, enter_sandbox


def reencode(upload: bytes, *, scale_down: bool = False) -> EncodedImage:
    """Return the re-encoded image.

    Raises RejectedError, or any other exception if the upload is not a complete image of an accepted format.
    """
    image = detect_format(upload).reencode(upload, scale_down=scale_down)
    return image._replace(content=b"".join(limit_output([image.content])))


def main() -> int:
    """Re-encode standard input; return the exit status."""
    end_with_parent(int(sys.argv[1]))
    limit_process()
    Image.preinit()  # Import the plugins of common formats.
    enter_sandbox()
    try:
        image = reencode(sys.stdin.buffer.read(), scale_down=SCALE_DOWN in sys.argv[2:])
    except RejectedError as error:
        print(error)
        return EXIT_REJECTED
    except MemoryError:
        print("takes too much memory to be decoded")
        return EXIT_REJECTED
    except Exception:  # Pillow and struct raise many types of exceptions for malformed images.
        print("must be a complete JPEG, PNG or GIF image")
        return EXIT_REJECTED
    sys.stdout.buffer.write(f"{image.content_type} {image.width} {image.height}\n".encode() + image.content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
