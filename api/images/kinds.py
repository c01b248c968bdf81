"""The kinds of images: profile images, and images in messages."""

from collections.abc import Callable
from dataclasses import dataclass

from api.images.names import derive_name, generate_name


@dataclass(frozen=True, slots=True)
class ImageKind:
    """How an image is re-encoded and named, and which of its properties the SQL function that adds it receives."""

    scale_down: bool  # Whether a still image that is too large is scaled down, and not rejected.
    create_name: Callable[[bytes, str], str]  # from the content and its type
    sql_parameters: tuple[str, ...]


PROFILE_IMAGE = ImageKind(scale_down=False, create_name=derive_name, sql_parameters=("image_url",))
CHAT_IMAGE = ImageKind(scale_down=True, create_name=generate_name, sql_parameters=("image_url", "width", "height"))
