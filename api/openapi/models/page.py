"""The fields that all paginated responses share."""

from typing import Annotated

from api.openapi.models.base import Model, describe_field


class Page(Model):
    """A page of a list."""

    total: Annotated[int, describe_field("The number of items on all pages.", 1, minimum=0)]
    page: Annotated[int | None, describe_field("The page's number; null if the request had a cursor.", 1)]
    limit: Annotated[int, describe_field("The maximum number of items per page.", 50)]
