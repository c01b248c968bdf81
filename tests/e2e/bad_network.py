"""An hour of network faults in a minute; at the end each client's copy of a chat equals the database.
`python -m tests.e2e.bad_network [--seconds 60] [--seed N] [--soketi DIR]`

Clients (chat_clients.py) follow a chat through proxies that inject faults (fault_proxy.py). Laptops sleep;
the listener is killed; a client is removed from the chat and added again; one sleeps until the events that it missed
are no longer kept; one is limited to ten requests a second; and one is in a chat that is deleted. Meanwhile most of
them write, and so does the owner, without network faults: they send, edit and delete messages, some of which are too
large for an event. The owner also renames the chat, and adds and removes members.

Time is compressed by 60, so that a minute is an hour: the pauses of a client are a sixtieth of those of local_copy.py,
and an outage of half a second stands for half a minute. Seconds of Retry-After remain seconds.

At the end there are no faults and no live events, and all clients must catch up by themselves. Then the promises of
bad_network_checks.py must hold, and:

- No client has a copy of the deleted chat.
- Each kind of fault occurred. A client that reads once, and then applies live events as they come, ends with a copy
  that differs from the database.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.e2e.bad_network_checks import (
    Chat,
    append_violations,
    apply_violations,
    catch_up_violations,
    copy_violations,
    send_violations,
)
from tests.e2e.bad_network_scenario import FAULTS, Scenario, running_servers
from tests.e2e.chaos import new_seed
from tests.e2e.chat_clients import Environment, Transport
from tests.e2e.fault_proxy import Network
from tests.e2e.followers import COMPRESSION
from tests.e2e.local_copy import LocalCopy
from tests.e2e.soketi import add_soketi_option


@dataclass
class Report:
    """The figures and the violations of a run."""

    seed: int
    seconds: float
    faults: Counter[str]
    events: int
    messages: int
    missed: int  # messages that differ in the copy of the naive client
    violations: list[str]

    def __str__(self) -> str:
        return "\n".join(
            [
                f"seed {self.seed}: {self.seconds:.0f} s, as if {self.seconds * COMPRESSION / 60:.0f} minutes",
                *(f"{description}: {self.faults[kind]}" for kind, description in FAULTS.items()),
                f"events of the chat: {self.events}, and messages in the end: {self.messages}",
                f"messages that differ for the client that never catches up: {self.missed}",
                f"violations: {len(self.violations)}",
                *(f"  {violation}" for violation in self.violations[:20]),
            ]
        )


def run(seconds: float, seed: int, soketi: Path | None = None) -> Report:
    """Run the scenario with faults for a duration; report the outcome."""
    with running_servers(seed, soketi) as (environment, listener, dba), Network(seed) as network:
        with Scenario(environment, network, listener, dba) as scenario:
            begun = time.monotonic()
            scenario.inject_faults(seconds)
            elapsed, faults, missing_faults = (
                time.monotonic() - begun,
                scenario.count_faults(),
                scenario.missing_faults(),
            )
            scenario.settle()
        scenario.read_log()
        stored = Chat.stored(dba, scenario.chat)
        fetched = asyncio.run(fetch_chat(environment, scenario.chat))
    missed = len(dict(Chat.copied(scenario.naive.copy).contents().items() ^ stored.contents().items()))
    violations = [
        *(f"there were no {description}" for description in missing_faults),
        *scenario.failures,
        *(f"a client that reads it now has {difference}" for difference in fetched.differences(stored)),
        *(violation for client in scenario.followers for violation in copy_violations(client, stored)),
        *(violation for client in scenario.followers for violation in apply_violations(client, scenario.events())),
        *(violation for client in scenario.followers for violation in catch_up_violations(client, scenario.events())),
        *(violation for writer in scenario.writers for violation in send_violations(writer, scenario.events(), stored)),
        *append_violations(scenario.appenders, stored),
        *(["a copy of a chat that was deleted"] if scenario.visitor.copy.seq is not None else []),
        *([] if missed else ["the client that never catches up has the state of the database"]),
    ]
    return Report(seed, elapsed, faults, len(scenario.events()), len(stored.messages), missed, violations)


async def fetch_chat(environment: Environment, chat: str) -> "Chat":
    """Read a chat from the API."""
    headers = environment.api.headers("bob")
    async with httpx.AsyncClient(base_url=environment.api.url, headers=headers, transport=Transport()) as http:
        copy = LocalCopy(http, "", chat)
        await copy.read()
        return Chat.copied(copy)


def main() -> None:
    """Run and print the report; exit with 1 after a violation."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.bad_network", description="An hour of bad network.")
    parser.add_argument(
        "--seconds", type=float, default=60, help="the duration of the faults; a second stands for a minute"
    )
    parser.add_argument("--seed", type=int, default=new_seed(), help="of faults and messages")
    add_soketi_option(parser)
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    report = run(options.seconds, options.seed, options.soketi)
    print(report)
    sys.exit(1 if report.violations else 0)


if __name__ == "__main__":
    main()
