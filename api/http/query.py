"""The query parameters of a request: their values, and the names that its route does not accept."""

from typing import NamedTuple

from api.http.request import ParleyRequest


class Query(NamedTuple):
    """The query parameters of a request to a route. An empty value is the same as none.

    `values` are in the order of the route's parameters. `unknown` and `repeated` are names, which make the request
    invalid.
    """

    values: list[str | None]
    unknown: list[str]
    repeated: list[str]

    @property
    def is_valid(self) -> bool:
        """Whether the route accepts all names, each once."""
        return not (self.unknown or self.repeated)


def read_query(request: ParleyRequest, names: tuple[str, ...]) -> Query:
    """Return the query parameters; `names` are those of the route."""
    if not request.query_string:
        return Query([None] * len(names), [], [])
    found = request.args
    unknown = [name for name in found if name not in names]
    repeated = [name for name in names if len(found.getlist(name, [])) > 1]
    return Query([found.get(name) or None for name in names], unknown, repeated)
