"""The schemas of the document's components, from the models and the database, and examples that match them."""

from typing import Any, NamedTuple

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from api.http.errors import CODES
from api.openapi import models
from api.openapi.models.events import EVENTS
from api.routes import ROUTES

Json = dict[str, Any]

STRING, INTEGER = {"type": "string"}, {"type": "integer"}


class Entry(NamedTuple):
    """An entry in a table of headers or parameters."""

    description: str
    schema: Json
    example: Any


class SchemaGenerator(GenerateJsonSchema):
    """A generator of schemas without titles, which would repeat the names, and without null as a default."""

    def field_title_should_be_set(self, _: Any) -> bool:
        """Return False: no field gets a title."""
        return False

    def default_schema(self, schema: Any) -> Json:
        """Return the schema of a field with a default, which is left out if it is None."""
        if schema["default"] is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)


def build_schemas(fields: Json) -> Json:
    """Return the schemas of all models by name; `fields` is the result of api.get_field_schemas()."""
    used = {model for route in ROUTES for model in (route.body, route.response) if model}
    used |= {event.payload for event in EVENTS} | {models.Error, models.Status}
    _, generated = models_json_schema(
        [(model, "validation") for model in sorted(used, key=lambda model: model.__name__)],
        ref_template="#/components/schemas/{model}",
        schema_generator=SchemaGenerator,
    )
    components: Json = generated["$defs"]
    components["Problem"]["properties"]["code"]["enum"] = list(CODES.values())
    for name, schema in components.items():
        is_body = issubclass(getattr(models, name), models.Body)
        for field, described in schema.get("properties", {}).items():
            limits = fields.get(field, {})
            # In a response only the set of values is of interest, not the limits on input.
            described.update(limits if is_body else {key: limits[key] for key in limits if key == "enum"})
    return components


def build_content(media_type: str, model: str, components: Json) -> Json:
    """Return the content of a body or a response: a reference to a model's schema, and an example."""
    return {
        media_type: {
            "schema": {"$ref": f"#/components/schemas/{model}"},
            "example": build_example(components[model], components),
        }
    }


def build_example(schema: Json, components: Json) -> Any:
    """Return an example of a schema, from the examples of its fields; fields without an example are omitted."""
    schema = resolve(schema, components)
    if "examples" in schema:
        return schema["examples"][0]
    if "anyOf" in schema:
        return build_example(schema["anyOf"][0], components)
    if schema.get("type") == "array":
        return [build_example(schema["items"], components)]
    if "properties" not in schema:
        return None
    example = {name: build_example(field, components) for name, field in schema["properties"].items()}
    return {name: value for name, value in example.items() if value is not None}


def resolve(schema: Json, components: Json) -> Json:
    """Return the schema that a reference refers to, or the schema itself if it is not a reference."""
    return components[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
