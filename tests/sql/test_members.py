"""Members: list, add, remove, leave."""

from tests.support import Connection, add_member, call, new_chat, new_user, next_millisecond, refused


def test_the_owner_adds_and_everybody_in_the_chat_sees_it(app: Connection) -> None:
    owner, member = new_user(), new_user()
    chat = new_chat(app, owner)
    next_millisecond()
    added = add_member(app, owner, chat, member)
    assert list(added) == ["userId", "name", "image", "role", "joinedAt"]
    assert (added["userId"], added["role"]) == (member, "member")
    for user in (owner, member):
        members = call(app, user, "list_members", chat)["members"]
        assert [(m["userId"], m["role"]) for m in members] == [(owner, "owner"), (member, "member")]
        assert members[1] == added


def test_a_member_has_the_name_and_picture_of_the_token(app: Connection) -> None:
    owner = new_user()
    identity = f'{{"sub": "{owner}", "name": "Ada", "email": "{owner}@x.org", "picture": "https://x.org/a.png"}}'
    app.execute("select session.begin(%s)", [identity])
    member = call(app, owner, "list_members", new_chat(app, owner))["members"][0]
    assert (member["name"], member["image"]) == ("Ada", "https://x.org/a.png")
    assert "email" not in member


def test_only_the_owner_adds(app: Connection) -> None:
    owner, member, third = new_user(), new_user(), new_user()
    chat = new_chat(app, owner, member)
    with refused(403):
        add_member(app, member, chat, third)
    with refused(404):
        add_member(app, third, chat, third)
    assert add_member(app, owner, chat, third)["userId"] == third


def test_who_has_never_signed_in_cant_be_added(app: Connection) -> None:
    owner, unknown = new_user(), new_user()
    chat = new_chat(app, owner)
    with refused(400) as refusal:
        call(app, owner, "add_member", chat, {"userId": unknown})
    assert refusal.fields == {"userId": "is not a known user"}
    assert add_member(app, owner, chat, unknown)["userId"] == unknown


def test_nobody_is_added_twice(app: Connection) -> None:
    owner, member = new_user(), new_user()
    chat = new_chat(app, owner, member)
    for user in (owner, member):
        with refused(409):
            call(app, owner, "add_member", chat, {"userId": user})
    assert len(call(app, owner, "list_members", chat)["members"]) == 2


def test_the_owner_removes_and_a_member_leaves(app: Connection) -> None:
    owner, removed, leaving = new_user(), new_user(), new_user()
    chat = new_chat(app, owner, removed, leaving)
    call(app, owner, "remove_member", chat, removed)
    call(app, leaving, "remove_member", chat, leaving)
    for user in (removed, leaving):
        with refused(404):
            call(app, user, "list_messages", chat)
    assert [m["userId"] for m in call(app, owner, "list_members", chat)["members"]] == [owner]


def test_a_member_removes_nobody_else(app: Connection) -> None:
    owner, member, third = new_user(), new_user(), new_user()
    chat = new_chat(app, owner, member, third)
    for user in (owner, third, new_user()):
        with refused(403):
            call(app, member, "remove_member", chat, user)
    with refused(404):
        call(app, new_user(), "remove_member", chat, third)
    assert len(call(app, owner, "list_members", chat)["members"]) == 3
    call(app, owner, "remove_member", chat, third)
    with refused(404):
        call(app, owner, "remove_member", chat, third)


def test_the_owner_cant_leave(app: Connection) -> None:
    owner = new_user()
    chat = new_chat(app, owner)
    with refused(409):
        call(app, owner, "remove_member", chat, owner)
    assert call(app, owner, "get_chat", chat)["role"] == "owner"
