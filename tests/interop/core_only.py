"""A program that has only the core dependencies: it refreshes Application Default Credentials and holds a conversation.

Run by ``test_core_only.py`` in a process of its own. Every module of a distribution that the core does not need is
refused on import, as if it were not installed; then a service account whose token server is on loopback is used as
google-auth uses it, in a thread, and its token is what the local server sees.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType


def core_distributions() -> set[str]:
    """Returns the distributions that ``gemlive`` without extras needs, by name in lower case."""
    found: set[str] = set()
    waiting = [("gemlive", frozenset[str]())]
    while waiting:
        name, extras = waiting.pop()
        name = re.sub(r"[-_.]+", "-", name).lower()
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # for another platform
        found.add(name)
        for requirement in requires:
            wanted, _, marker = requirement.partition(";")
            extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
            if extra is not None and extra[1] not in extras:
                continue
            parts = re.match(r"\s*([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?", wanted)
            assert parts is not None
            entry = (parts[1], frozenset(filter(None, (parts[2] or "").replace(" ", "").split(","))))
            if re.sub(r"[-_.]+", "-", entry[0]).lower() not in found or entry[1]:
                waiting.append(entry)
    return found


class Refusal:
    """An import finder that knows nothing of what is not core."""

    def __init__(self, core: set[str]) -> None:
        owners = metadata.packages_distributions()
        names = {
            module: {re.sub(r"[-_.]+", "-", owner).lower() for owner in distributions}
            for module, distributions in owners.items()
        }
        self._refused = {module for module, distributions in names.items() if not distributions & core}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raises for a module that the core does not have; everything else is found by others."""
        if fullname.partition(".")[0] in self._refused or fullname.startswith("google.genai"):
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


class TokenServer(BaseHTTPRequestHandler):
    """Issues a token to whoever asks."""

    def do_POST(self) -> None:
        """Answers a token request."""
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"access_token": "from-adc", "expires_in": 3600, "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Says nothing."""


def service_account(token_uri: str) -> dict[str, str]:
    """Returns the key file of a service account that nobody has."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": key.decode(),
        "client_email": "nobody@example.iam.gserviceaccount.com",
        "token_uri": token_uri,
    }


def main() -> None:
    """Holds the conversation and prints what the server saw."""
    sys.meta_path.insert(0, Refusal(core_distributions()))
    import google.auth
    import trio

    import gemlive
    from gemlive.emulator import serve

    with HTTPServer(("127.0.0.1", 0), TokenServer) as tokens, tempfile.TemporaryDirectory() as folder:
        threading.Thread(target=tokens.serve_forever, daemon=True).start()
        path = Path(folder, "adc.json")
        path.write_text(json.dumps(service_account(f"http://127.0.0.1:{tokens.server_port}/token")))
        os.environ["GOOGLE_APPLICATION_CREDENTIALS"] = str(path)
        scopes = ["https://www.googleapis.com/auth/cloud-platform"]
        credentials, _ = google.auth.default(scopes=scopes)

        async def converse() -> None:
            config = gemlive.SessionConfig(model="gemini-live-2.5-flash", response_modalities=("TEXT",))
            async with serve() as server:
                endpoint = gemlive.VertexAI("p", "us-central1", credentials=credentials, base_url=server.url)
                async with gemlive.open_session(config, endpoint=endpoint) as session:
                    print((await session.ask("hello")).state)
                print(server.connections[0].headers["authorization"])

        trio.run(converse)
        tokens.shutdown()


if __name__ == "__main__":
    main()
