"""Error responses, and the status of the health checks."""

from typing import Annotated, Literal

from pydantic import Field

from api.openapi.models.base import Model, Omitted, describe_field


class Status(Model):
    """The service is healthy."""

    status: Literal["ok"] = Field(examples=["ok"])


class Details(Model):
    """Details of a validation error."""

    fields: dict[str, str] = Field(
        description="The error of each invalid field, by name.", examples=[{"title": "must be 1 to 200 characters"}]
    )


class Problem(Model):
    """The reason why a request failed."""

    message: Annotated[
        str, describe_field("A message for developers. Its wording may change.", "The request has invalid fields.")
    ]
    code: Annotated[str, describe_field("A stable code for programs.", "validation_error")]
    details: Details | Omitted = None


class Error(Model):
    """The body of every error response."""

    error: Problem
