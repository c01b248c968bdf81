"""api.authorize_channel: one channel, or several at once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.database import Connection, call, expect_error, new_chat
from tests.tokens import new_user

MAX_CHANNELS = 100


def authorize(connection: Connection, user: str, names: list[str]) -> Any:
    """Authorize several channels; return what is signed for each."""
    array = "{" + ",".join(f'"{name}"' for name in names) + "}"
    return call(connection, user, "authorize_channel", "1.2", None, array)["channels"]


def test_channels_are_authorized_independently_of_each_other(dba: Connection) -> None:
    user, other = new_user(), new_user()
    own, foreign = new_chat(dba, user), new_chat(dba, other)
    names = [f"private-chat-{own}", f"presence-chat-{own}", f"private-chat-{foreign}", "private-user-eA", "x"]
    granted = authorize(dba, user, [*names, names[0]])
    assert {name for name, data in granted.items() if data is None} == set(names[2:])
    assert granted[names[0]] == {}
    assert granted[names[1]]["channel_data"]["user_id"] == user
    authorized = "select count(*) from parley.members where was_authorized and chat_id = any (%s::uuid[])"
    assert dba.execute(authorized, [[own, foreign]]).fetchone() == (1,)


def test_number_of_channels_is_limited(dba: Connection) -> None:
    user = new_user()
    names = [f"x{n}" for n in range(MAX_CHANNELS + 1)]
    assert len(authorize(dba, user, names[:MAX_CHANNELS])) == MAX_CHANNELS
    for invalid in (names, [], ["x", ""]):
        with expect_error(400) as error:
            authorize(dba, user, invalid)
        assert error.fields.keys() == {"channel_name[]"}
    with expect_error(400) as error:
        call(dba, user, "authorize_channel", "1.2", "x", "{x}")
    assert error.fields.keys() == {"channel_name"}


@pytest.mark.slow
def test_concurrent_batches_of_a_user_lock_memberships_in_the_same_order(own_dba: Connection, own_url: str) -> None:
    user = new_user()
    first, second = sorted(new_chat(own_dba, new_user(), user) for _ in range(2))
    # By their whole names, presence-chat-2 is before private-chat-1.
    batches = [
        [f"presence-chat-{first}", f"private-chat-{second}"],
        [f"presence-chat-{second}", f"private-chat-{first}"],
    ]

    def run(names: list[str]) -> None:
        with psycopg.connect(own_url, autocommit=True) as connection:
            authorize(connection, user, names)

    for _ in range(30):
        own_dba.execute("update parley.members set was_authorized = false")
        with ThreadPoolExecutor(2) as executor:
            list(executor.map(run, batches))
