"""Two Valkeys behind one name, and outages in which one of them replies with errors."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import redis

from api.dev.valkey import Valkey
from tests.service_name import ServiceName
from tests.waiting import wait_until

Outage = Callable[["Servers"], contextlib.AbstractContextManager[None]]


class Servers:
    """A Valkey, another one, and the name that leads to one of them."""

    def __init__(self, valkey: Valkey, other: Valkey, name: ServiceName) -> None:
        self.valkey, self.other, self.name = valkey, other, name
        self.url = self._via(valkey.url(), name.port)
        with redis.Redis.from_url(valkey.url()) as client:
            # The tests change the login `default`, which the API uses.
            client.acl_setuser(
                "admin", enabled=True, passwords=["+admin"], keys=["*"], channels=["*"], categories=["+@all"]
            )
        self.admin = redis.Redis.from_url(f"redis://admin:admin@127.0.0.1:{valkey.port}/0", decode_responses=True)
        self.password = unquote(urlsplit(valkey.url()).password or "")
        self.other_admin = redis.Redis.from_url(other.url(), decode_responses=True)
        self.other_admin.config_set("requirepass", self.password)  # as replicas have, too
        self.other_admin = redis.Redis.from_url(self._via(valkey.url(), other.port), decode_responses=True)

    @contextmanager
    def failed_over(self) -> Iterator[None]:
        """Make the other Valkey the primary; the former one becomes a replica, and keeps its connections."""
        for admin in (self.admin, self.other_admin):
            admin.config_set("masterauth", self.password)
        self.other_admin.replicaof("127.0.0.1", str(self.valkey.port))
        wait_until(lambda: self.other_admin.info("replication")["master_link_status"] == "up")
        self.other_admin.replicaof("no", "one")
        self.admin.replicaof("127.0.0.1", str(self.other.port))
        self.name.target = self.other.port
        try:
            yield
        finally:
            self.admin.replicaof("no", "one")
            self.other_admin.replicaof("127.0.0.1", str(self.valkey.port))
            self.name.target = self.valkey.port

    def set_rules(self, rules: str) -> None:
        """Change the rules of the login `default`."""
        words = rules.format(password=self.password).split()
        self.admin.execute_command("ACL", "SETUSER", "default", *words)  # type: ignore[no-untyped-call]

    @staticmethod
    def _via(url: str, port: int) -> str:
        return url.rpartition(":")[0] + f":{port}/0"


@contextmanager
def follow_nobody(servers: Servers) -> Iterator[None]:
    servers.admin.replicaof("127.0.0.1", "1")
    try:
        yield
    finally:
        servers.admin.replicaof("no", "one")


@contextmanager
def lose_primary(servers: Servers) -> Iterator[None]:
    servers.admin.config_set("replica-serve-stale-data", "no")
    try:
        with follow_nobody(servers):
            yield
    finally:
        servers.admin.config_set("replica-serve-stale-data", "yes")


@contextmanager
def load_data(servers: Servers) -> Iterator[None]:
    """Load the data of a primary, slowly."""
    for number in range(100):
        servers.other_admin.set(f"filler:{number}", uuid4().hex * 300)
    servers.admin.config_set("masterauth", servers.password)
    servers.admin.config_set("loading-process-events-interval-bytes", 1024)
    servers.admin.config_set("key-load-delay", 30_000)  # microseconds for each key
    servers.admin.replicaof("127.0.0.1", str(servers.other.port))
    with redis.Redis.from_url(servers.valkey.url()) as client:

        def is_loading() -> bool:
            try:
                client.get("x")
            except redis.exceptions.BusyLoadingError:
                return True
            return False

        wait_until(is_loading)
        try:
            yield
        finally:
            wait_until(lambda: not is_loading())
            servers.admin.replicaof("no", "one")
            servers.admin.config_set("key-load-delay", 0)


@contextmanager
def fail_to_save(servers: Servers) -> Iterator[None]:
    """Put a directory in the place of the file to save."""
    obstacle = servers.valkey.directory / "dump.rdb"
    obstacle.unlink(missing_ok=True)
    (obstacle / "full").mkdir(parents=True)

    def has_saved(status: str) -> bool:
        with contextlib.suppress(redis.ResponseError):  # one is in progress
            servers.admin.bgsave()
        info = servers.admin.info("persistence")
        return info["rdb_last_bgsave_status"] == status and not info["rdb_bgsave_in_progress"]

    servers.admin.config_set("save", "3600 1")
    try:
        wait_until(lambda: has_saved("err"))
        yield
    finally:
        shutil.rmtree(obstacle)
        wait_until(lambda: has_saved("ok"))
        servers.admin.config_set("save", "")
        obstacle.unlink()


@contextmanager
def run_long_script(servers: Servers) -> Iterator[None]:
    servers.admin.config_set("busy-reply-threshold", 10)
    with ThreadPoolExecutor(1) as thread, redis.Redis.from_url(servers.valkey.url()) as client:
        script = thread.submit(client.eval, "while true do end", 0)

        def is_busy() -> bool:
            try:
                servers.admin.ping()
            except redis.ResponseError as error:
                return str(error).startswith("BUSY")
            return False

        wait_until(is_busy)
        try:
            yield
        finally:
            servers.admin.script_kill()
            assert script.exception(10)


@contextmanager
def configured(servers: Servers, name: str, value: str, normal: str) -> Iterator[None]:
    servers.admin.config_set(name, value)
    try:
        yield
    finally:
        servers.admin.config_set(name, normal)


@contextmanager
def with_rules(servers: Servers, rules: str, normal: str) -> Iterator[None]:
    """Change the rules of the API's login."""
    servers.set_rules(rules)
    try:
        yield
    finally:
        servers.set_rules(normal)


@contextmanager
def reconnecting(servers: Servers, outage: Outage) -> Iterator[None]:
    """End the API's connections during an outage that concerns new ones only."""
    with outage(servers):
        servers.admin.client_kill_filter(_type="normal", skipme=True)
        yield


# The first word of each name is what the log contains.
OUTAGES: dict[str, Outage] = {
    "READONLY": follow_nobody,
    "MASTERDOWN": lose_primary,
    "LOADING": load_data,
    "MISCONF": fail_to_save,
    "BUSY": run_long_script,
    "OOM": partial(configured, name="maxmemory", value="1", normal="0"),
    "NOREPLICAS": partial(configured, name="min-replicas-to-write", value="1", normal="0"),
    "NOPERM": partial(with_rules, rules="-eval", normal="+eval"),
    "AuthenticationError after a change of the password": partial(
        reconnecting, outage=partial(with_rules, rules="resetpass >rotated", normal="resetpass >{password}")
    ),
    "AuthenticationError of a disabled login": partial(
        reconnecting, outage=partial(with_rules, rules="off", normal="on")
    ),
    "ConnectionError": partial(reconnecting, outage=partial(configured, name="maxclients", value="1", normal="10000")),
}
