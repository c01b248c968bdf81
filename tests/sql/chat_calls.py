"""A call of each function that takes a chat."""

from typing import Any

# The arguments of a call by a member; <chat> stands for the id of the chat, <message> for that of one of its messages.
CHAT_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "get_chat": ("<chat>",),
    "update_chat": ("<chat>", {"title": "New"}),
    "delete_chat": ("<chat>",),
    "list_members": ("<chat>",),
    "add_member": ("<chat>", {"userId": "newcomer"}),
    "update_member": ("<chat>", "member", {"role": "owner"}),
    "remove_member": ("<chat>", "member"),
    "mark_read": ("<chat>", {"messageId": "<message>"}),
    "list_messages": ("<chat>",),
    "send_message": ("<chat>", {"content": "new"}),
    "get_message": ("<chat>", "<message>"),
    "update_message": ("<chat>", "<message>", {"content": "new"}),
    "delete_message": ("<chat>", "<message>"),
    "authorize_upload": ("<chat>",),
    "add_chat_image": ("<chat>", f"https://chat.example/images/{'0' * 64}.png", 640, 480),
}


def build_arguments(function: str, chat: str, message: str) -> list[Any]:
    """Return the arguments of a call of one of these functions."""
    ids = {"<chat>": chat, "<message>": message}
    return [
        {name: ids.get(value, value) for name, value in argument.items()}
        if isinstance(argument, dict)
        else ids.get(argument, argument)
        for argument in CHAT_FUNCTIONS[function]
    ]
