"""Signatures for Pusher's clients: PostgreSQL authorizes a client, and the app's secret signs the authorization."""

import json
from typing import Any

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
        socket_id = granted["socket_id"]
        if "user_data" in granted:
            return json.dumps(self._client.authenticate_user(socket_id, granted["user_data"]))
        if "channels" in granted:
            channels = granted["channels"].items()  # null for a channel that the user may not subscribe to
            signed = {
                name: None if data is None else sign_channel(self._client, socket_id, name, data)
                for name, data in channels
            }
            return json.dumps({"channels": signed})
        return json.dumps(sign_channel(self._client, socket_id, granted["channel_name"], granted))


def sign_channel(client: AuthenticationClient, socket_id: str, name: str, data: dict[str, Any]) -> dict[str, str]:
    """Return the authorization of one channel.

    `data` has the `channel_data` of a presence channel, or the `user_data` of the channel by which users sign in.
    """
    signed: dict[str, str]
    if "user_data" in data:
        signed = client.authenticate_user(socket_id, data["user_data"])
    else:
        signed = client.authenticate(name, socket_id, data.get("channel_data"))
    return signed
