"""The operations: those of the table of routes, and those outside /api, which need no token and have no rate limit."""

from api.http.request import route_template
from api.images.names import NAME, SUFFIXES
from api.images.reencode.limits import MAX_SIDE
from api.images.upload import FIELD, MAX_IMAGE_BYTES
from api.openapi.headers import COMMON_HEADERS, IMAGE_HEADERS, build_header_refs
from api.openapi.parameters import PARAMETERS, build_parameter, build_parameter_schema, build_parameters
from api.openapi.responses import build_error, build_responses, get_operation_id
from api.openapi.schemas import STRING, Json, build_content
from api.routes import ROUTES, Route


def build_paths(fields: Json, components: Json) -> Json:
    """Return the path items of all operations; `fields` is the result of api.get_field_schemas()."""
    paths: Json = {}
    for route in ROUTES:
        paths.setdefault(route_template(route.path), {})[route.method.lower()] = build_operation(
            route, fields, components
        )
    return paths | build_public_paths(components)


def build_operation(route: Route, fields: Json, components: Json) -> Json:
    """Return the operation object of a route."""
    operation: Json = {
        "operationId": get_operation_id(route),
        "summary": route.summary,
        "tags": [route.path.split("/")[2]],
        "parameters": build_parameters(route, fields),
        "requestBody": build_request_body(route, fields, components),
        "responses": build_responses(route, components),
    }
    return {key: value for key, value in operation.items() if value}


def build_request_body(route: Route, fields: Json, components: Json) -> Json:
    """Return the request body object of a route: JSON, an image or a form; empty if it has no body."""
    if route.body:
        return {"required": True, "content": build_content("application/json", route.body.__name__, components)}
    if route.image_kind:
        limits = f"Up to {MAX_IMAGE_BYTES:,} bytes and {MAX_SIDE} by {MAX_SIDE} pixels"
        if route.image_kind.scale_down:
            limits += "; a larger picture that is not animated is scaled down"
        description = f"{limits}. The format is detected from the content, not from the file name or content type."
        image = {"type": "string", "format": "binary", "description": description}
        form = build_form_schema({FIELD: image}) | {"additionalProperties": False}
        multipart = {"schema": form, "encoding": {FIELD: {"contentType": ", ".join(SUFFIXES)}}}
        return {"required": True, "content": {"multipart/form-data": multipart}}
    if route.pusher_fields:
        entries = {name: PARAMETERS[name] for name in route.pusher_fields}
        properties = {
            name: build_parameter_schema(name, fields) | {"description": entry.description}
            for name, entry in entries.items()
        }
        # An array is sent in place of the single value.
        arrays = {name for name in entries if name.endswith("[]")}
        singles = {name.removesuffix("[]") for name in arrays}
        example = {name: entry.example for name, entry in entries.items() if name not in arrays}
        form = {"type": "object", "properties": properties, "required": [*(entries.keys() - arrays - singles)]}
        if arrays:
            form["oneOf"] = [{"required": [*names]} for names in (singles, arrays)]
        urlencoded = {"schema": form, "example": example}
        return {"required": True, "content": {"application/x-www-form-urlencoded": urlencoded}}
    return {}


def build_form_schema(properties: Json) -> Json:
    """Return the schema of a form in which all fields are required."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def build_public_paths(components: Json) -> Json:
    """Return the path items of the operations outside /api."""
    ok = {
        "description": components["Status"]["description"],
        "headers": build_header_refs(*COMMON_HEADERS),
        "content": build_content("application/json", "Status", components),
    }
    unavailable = build_error(503, is_rate_limited=False)
    return {
        "/healthz": {"get": build_public_operation("isAlive", "Check whether the process is alive", {"200": ok})},
        "/readyz": {
            "get": build_public_operation(
                "isReady", "Check whether the process and its database are ready", {"200": ok, "503": unavailable}
            )
        },
        "/images/{name}": {"get": build_get_image()},
    }


def build_get_image() -> Json:
    """Return the operation that serves images."""
    image = {
        "description": "The image. The content behind a URL never changes.",
        "headers": build_header_refs(*IMAGE_HEADERS),
        "content": {media_type: {"schema": STRING | {"format": "binary"}} for media_type in SUFFIXES},
    }
    not_modified = {
        "description": "The client's copy is up to date.",
        "headers": build_header_refs(*IMAGE_HEADERS),
    }
    not_found = build_error(
        404, message="No such resource.", description="The image does not exist, or no longer.", is_rate_limited=False
    )
    responses = {"200": image, "304": not_modified, "404": not_found}
    name = {"name": "name", "in": "path", "required": True, "schema": STRING | {"pattern": f"^{NAME.pattern}$"}}
    parameters = [name, build_parameter("header", "If-None-Match", {})]
    return build_public_operation("getImage", "Get an image", responses) | {"parameters": parameters}


def build_public_operation(operation_id: str, summary: str, responses: Json) -> Json:
    """Return an operation that needs no token."""
    return {
        "operationId": operation_id,
        "summary": summary,
        "tags": ["outside /api"],
        "security": [],
        "responses": responses,
    }
