"""Base classes of the models, and the helpers that describe their fields."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.json_schema import SkipJsonSchema

Omitted = SkipJsonSchema[None]  # marks a field that may be omitted, but must not be null


def describe_field(description: str, *examples: Any, **schema: Any) -> Any:
    """Return a field with a description, examples, and further keywords of JSON Schema."""
    return Field(description=description, examples=list(examples) or None, json_schema_extra=schema)


class Model(BaseModel):
    """A model whose fields are in camelCase in JSON."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Body(Model):
    """The body of a request, in which unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")


class PartialUpdate(Body):
    """A body that must have at least one of its fields."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})
