"""Records of recent writes over TLS: a Redis that hangs."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from api.db.recent_writes import MAX_CONNECTIONS, RecentWrites
from api.dev.valkey import Valkey
from api.settings import Settings
from tests.api_process import Api
from tests.certificates import Issuer
from tests.waiting import wait_until

# A server in a process of its own, which can be stopped.
TLS_PROXY = """
import asyncio, ssl, sys
async def copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
async def serve(reader, writer):
    upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[3]))
    await asyncio.gather(copy(reader, upstream_writer), copy(upstream_reader, writer))
async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[1:3])
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


@contextmanager
def tls_proxy(valkey: Valkey, directory: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a proxy for a block; yield its process and the URL of Redis behind it."""
    issuer = Issuer(directory, "issuer")
    certificate, key = issuer.issue("redis", "localhost")
    arguments = [sys.executable, "-c", TLS_PROXY, str(certificate), str(key), str(valkey.port)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        address = f"localhost:{int(process.stdout.readline())}"
        url = valkey.url().replace("redis:", "rediss:").replace(f"127.0.0.1:{valkey.port}", address)
        try:
            yield process, f"{url}?ssl_ca_certs={issuer.certificate}"
        finally:
            process.kill()


def test_monitor_survives_a_redis_that_hangs(
    new_api: Callable[..., Api], shared_database: str, valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(process: subprocess.Popen[bytes]) -> None:
        recent_writes = RecentWrites(Settings.load(), 0.1)
        monitor = asyncio.create_task(recent_writes.monitor(0.05))
        await asyncio.to_thread(wait_until, lambda: recent_writes.is_reliable)
        records = (recent_writes.record(f'{{"sub": "{n}"}}') for n in range(MAX_CONNECTIONS))
        assert all(await asyncio.gather(*records))  # opens several connections
        process.send_signal(signal.SIGSTOP)
        assert not await recent_writes.record('{"sub": "late"}')
        process.send_signal(signal.SIGCONT)
        await asyncio.to_thread(wait_until, lambda: recent_writes.is_reliable)
        assert await recent_writes.record('{"sub": "late"}')
        monitor.cancel()
        await asyncio.wait([monitor])
        await recent_writes.close()

    with tls_proxy(valkey, tmp_path) as (process, url):
        new_api(shared_database, REDIS_URL=url).export_environment(monkeypatch)
        asyncio.run(run(process))
