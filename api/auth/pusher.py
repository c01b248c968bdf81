"""Signatures for Pusher's clients: PostgreSQL authorizes a client, and the app's secret signs the authorization."""

import json

from pusher.authentication_client import AuthenticationClient

from api.http.errors import ApiError
from api.settings import Settings

APP_ID = "0"  # required by the package, but not part of a signature


class PusherAuthenticator:
    """Signs authorizations with the secret of an app at Pusher, if one is configured."""

    def __init__(self, settings: Settings) -> None:
        self._client: AuthenticationClient | None = None
        if settings.pusher_key and settings.pusher_secret:
            self._client = AuthenticationClient(APP_ID, settings.pusher_key, settings.pusher_secret.get_secret_value())

    def sign(self, authorization: bytes) -> str:
        """Return the response for Pusher's clients, as JSON.

        `authorization` is the JSON that api.authorize_channel or api.authorize_user returned. Raises ApiError 503 if no
        app is configured.
        """
        if self._client is None:
            raise ApiError(503, "Real-time events are not configured.")
        granted = json.loads(authorization)
        if "user_data" in granted:
            signed = self._client.authenticate_user(granted["socket_id"], granted["user_data"])
        else:
            signed = self._client.authenticate(
                granted["channel_name"], granted["socket_id"], granted.get("channel_data")
            )
        return json.dumps(signed)
