"""Signs for Pusher what PostgreSQL has authorized, by the `pusher` package."""

import json

from pusher.authentication_client import AuthenticationClient

from api.http.errors import ApiError
from api.settings import Settings

ANY_APP = "0"  # a signature does not name the app


class Signer:
    """Signs with the secret of an app at Pusher, if there is one."""

    def __init__(self, settings: Settings) -> None:
        self._client: AuthenticationClient | None = None
        if settings.pusher_key and settings.pusher_secret:
            self._client = AuthenticationClient(ANY_APP, settings.pusher_key, settings.pusher_secret.get_secret_value())

    def sign(self, authorized: bytes) -> str:
        """The answer for Pusher's clients, as JSON, to what api.authorize_channel or api.authorize_user answered.

        Raises ApiError 503 where no app is set up.
        """
        if self._client is None:
            raise ApiError(503, "Real-time updates are not set up here.")
        given = json.loads(authorized)
        if "user_data" in given:
            signed = self._client.authenticate_user(given["socket_id"], given["user_data"])
        else:
            signed = self._client.authenticate(given["channel_name"], given["socket_id"], given.get("channel_data"))
        return json.dumps(signed)
