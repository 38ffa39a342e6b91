"""The request that refreshes tokens: it says nothing to any log, and needs nothing beyond the core dependencies."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import exceptions
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gemlive.transport._token_request import TokenRequest
from tests.transport.peers import read_request

pytestmark = pytest.mark.socket

ROOT = Path(__file__).parents[2]


async def ask(url: str, **options: object) -> tuple[int, bytes]:
    def work() -> tuple[int, bytes]:
        with TokenRequest(timeout_s=5) as request:
            response = request(url, "POST", **options)  # type: ignore[arg-type]
            assert response.headers["x-one"] == "1"
            return response.status, response.data

    return await trio.to_thread.run_sync(work)


async def test_an_answer_is_handed_on_and_nothing_of_the_request_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    requests: list[bytes] = []

    async def handler(stream: trio.SocketStream) -> None:
        requests.append(await read_request(stream))
        await stream.send_all(b"HTTP/1.1 401 No\r\nX-One: 1\r\nContent-Length: 7\r\nConnection: close\r\n\r\nhunter2")
        await stream.aclose()

    caplog.set_level(logging.DEBUG)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, handler, 0)
        port = listeners[0].socket.getsockname()[1]
        answer = await ask(
            f"http://127.0.0.1:{port}/token", body=b"assertion=hunter2", headers={"Authorization": "Bearer hunter2"}
        )
        nursery.cancel_scope.cancel()
    assert answer == (401, b"hunter2")
    assert b"authorization: bearer hunter2" in requests[0].lower()
    assert [record for record in caplog.records if "hunter2" in str(vars(record))] == []


async def test_no_answer_is_a_transport_error_without_the_query() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    with pytest.raises(exceptions.TransportError, match="ConnectionError while asking") as caught:
        await ask(f"http://127.0.0.1:{port}/token?x=hunter2")
    assert "hunter2" not in str(caught.value)


# With the core dependencies alone


def core_distributions() -> dict[str, importlib.metadata.Distribution]:
    """Returns what `pip install gemlive` brings along, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    waiting = [Requirement(line) for line in project["dependencies"]]
    seen: set[tuple[str, frozenset[str]]] = set()
    found: dict[str, importlib.metadata.Distribution] = {}
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        found[key[0]] = distribution = importlib.metadata.distribution(requirement.name)
        for line in distribution.requires or ():
            further = Requirement(line)
            extras = ("", *requirement.extras)
            if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(further)
    return found


def files_of(distribution: importlib.metadata.Distribution) -> Iterator[tuple[str, Path]]:
    for file in distribution.files or ():
        if ".." not in file.parts and file.suffix != ".pyc":
            yield str(file), Path(str(distribution.locate_file(file)))


@pytest.fixture(scope="module")
def core_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with the core dependencies in it and nothing else."""
    site = tmp_path_factory.mktemp("site")
    for distribution in core_distributions().values():
        for name, source in files_of(distribution):
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).symlink_to(source)
    return site


REFRESH = """
import sys, importlib.util
site, root, uri_file = sys.argv[1:]
sys.path[:0] = [site, root]
for name in ("pytest", "hypothesis", "google.genai", "httpx", "websockets"):
    try:
        present = importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        present = False
    assert not present, name
import json, trio
from gemlive.transport import VertexAI

async def token_server(stream):
    request = b""
    while b"assertion=" not in request:
        request += await stream.receive_some()
    body = b'{"access_token": "from-adc", "expires_in": 3600}'
    head = b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n" % len(body)
    await stream.send_all(head + body)
    await stream.aclose()

async def main():
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, token_server, 0)
        account = json.load(open(uri_file))
        account["token_uri"] = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/token"
        json.dump(account, open(uri_file, "w"))
        grant = await VertexAI("p")._credentials.grant()
        print(grant.headers[0][1].reveal())
        nursery.cancel_scope.cancel()

trio.run(main)
"""


def test_application_default_credentials_refresh_with_the_core_dependencies_alone(
    core_only: Path, tmp_path: Path
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    account = tmp_path / "adc.json"
    account.write_text(
        json.dumps(
            {
                "type": "service_account",
                "project_id": "p",
                "private_key_id": "1",
                "private_key": key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                ).decode(),
                "client_email": "robot@p.iam.example",
            }
        )
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", REFRESH, str(core_only), str(ROOT), str(account)],
        env={"GOOGLE_APPLICATION_CREDENTIALS": str(account), "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("Bearer from-adc\n", "", 0)
