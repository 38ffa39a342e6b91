"""What it costs to receive speech: CPU time for each 40 ms audio message, gemlive beside google-genai in one run.

A server in a process of its own sends ready-made frames over TLS on loopback, as fast as the client takes them: binary,
pretty-printed, 1,920 bytes of PCM each, as the service does (docs/protocol.md 1.3, 4.2). Each client runs in a fresh
process, gets the events that its users get, and checks that not a byte is missing. The clients take turns within a
round, so that a machine whose speed drifts is unjust to neither. CPU time is the client's own, user and system, from
the first message to the last; wall time says more about the machine than about the client and is not compared.

    python -m benchmarks.receive --messages 10000 --rounds 5

google-genai dials ``wss://`` only, so both clients do, with an authority that is made on the spot.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import platform
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1920
"""40 ms of s16le mono at 24 kHz."""

MODEL = "gemini-2.5-flash-native-audio-latest"
CLIENTS = ("gemlive", "google-genai")
TIMEOUT_S = 300


# --- the server ------------------------------------------------------------------------------------------------------


def frames(messages: int) -> list[bytes]:
    """Returns the frames of one answer: distinct chunks, so that nothing can be remembered instead of decoded."""
    made = []
    for number in range(messages):
        pcm = number.to_bytes(4, "little") * (CHUNK_BYTES // 4)
        data = base64.b64encode(pcm).decode()
        part = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": data}}
        made.append(pretty({"serverContent": {"modelTurn": {"parts": [part]}}}))
    return made


def pretty(message: object) -> bytes:
    """Returns a frame as the service writes it."""
    return (json.dumps(message, indent=2) + "\n").encode()


async def serve(cert: str, messages: int) -> None:
    """Serves until it is terminated; prints its port as the first line."""
    from websockets.asyncio.server import ServerConnection
    from websockets.asyncio.server import serve as serve_websocket

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert)
    answer = frames(messages)

    async def converse(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(pretty({"setupComplete": {}}))
        await connection.recv()
        for frame in answer:
            await connection.send(frame)
        await connection.send(pretty({"serverContent": {"turnComplete": True}}))
        await connection.wait_closed()

    # Neither client offers compression to this server's benefit; google-genai does by default, so it is refused.
    async with serve_websocket(converse, "127.0.0.1", 0, ssl=context, compression=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


# --- the clients -----------------------------------------------------------------------------------------------------


def receive_with_gemlive(url: str, context: ssl.SSLContext) -> dict[str, float]:
    """Receives one answer with gemlive."""
    import trio

    import gemlive

    async def main() -> dict[str, float]:
        config = gemlive.SessionConfig(model=MODEL)
        endpoint = gemlive.GoogleAI("key", base_url=url, ssl_context=context)
        messages = size = 0
        async with gemlive.open_session(config, endpoint=endpoint) as session:
            await session.send_text("go")
            started = 0.0
            async for event in session:
                if isinstance(event, gemlive.ModelAudio):
                    started = started or time.process_time()
                    messages += 1
                    size += len(event.data)
                elif isinstance(event, gemlive.TurnComplete):
                    break
            cpu_s = time.process_time() - started
        return {"messages": messages, "bytes": size, "cpu_s": cpu_s}

    return trio.run(main)


def receive_with_google_genai(url: str, context: ssl.SSLContext) -> dict[str, float]:
    """Receives one answer with google-genai."""
    from google import genai
    from google.genai import types

    async def main() -> dict[str, float]:
        options = types.HttpOptions(base_url=url, api_version="v1beta", async_client_args={"ssl": context})
        client = genai.Client(api_key="key", http_options=options)
        messages = size = 0
        config = types.LiveConnectConfig(response_modalities=[types.Modality.AUDIO])
        async with client.aio.live.connect(model=MODEL, config=config) as session:
            await session.send_client_content(turns={"role": "user", "parts": [{"text": "go"}]}, turn_complete=True)
            started = 0.0
            async for message in session.receive():
                if message.data:
                    started = started or time.process_time()
                    messages += 1
                    size += len(message.data)
            cpu_s = time.process_time() - started
        return {"messages": messages, "bytes": size, "cpu_s": cpu_s}

    return asyncio.run(main())


# --- the run ---------------------------------------------------------------------------------------------------------


def pin(cpu: int) -> None:
    """Keeps this process on one processor where the platform can, so that client and server do not share one."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {cpu})


def measure(client: str, port: int, cafile: str, messages: int) -> float:
    """Runs one client in a fresh process and returns its CPU time for each message, in microseconds."""
    command = [sys.executable, "-m", "benchmarks.receive", "client", client, f"https://localhost:{port}", cafile]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise SystemExit(f"{client} failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if (result["messages"], result["bytes"]) != (messages, messages * CHUNK_BYTES):
        raise SystemExit(f"{client} received {result}, not {messages} messages of {CHUNK_BYTES} bytes: not comparable")
    return float(result["cpu_s"]) / messages * 1e6


def run(messages: int, rounds: int) -> None:
    """Measures both clients and prints the ratio."""
    import trustme

    names = ", ".join(f"{name} {metadata.version(name)}" for name in ("gemlive", "trio-websocket", "google-genai"))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {names}")
    print(f"receive over TLS: {messages} messages of 40 ms (1,920 bytes of PCM), {rounds} rounds, CPU us a message")
    with tempfile.TemporaryDirectory() as folder:
        authority = trustme.CA()
        cafile, cert = str(Path(folder, "ca.pem")), str(Path(folder, "cert.pem"))
        authority.cert_pem.write_to_path(cafile)
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(cert)
        command = [sys.executable, "-m", "benchmarks.receive", "server", cert, str(messages)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                port = int(server.stdout.readline())
                costs: dict[str, list[float]] = {client: [] for client in CLIENTS}
                for number in range(rounds + 1):
                    for client in CLIENTS if number % 2 else reversed(CLIENTS):
                        cost = measure(client, port, cafile, messages)
                        if number:  # the first round warms caches and is not counted
                            costs[client].append(cost)
            finally:
                server.terminate()
    for client, found in costs.items():
        print(f"  {client:<14} median {statistics.median(found):6.1f}   min {min(found):6.1f}   max {max(found):6.1f}")
    ratios = [theirs / ours for ours, theirs in zip(costs["gemlive"], costs["google-genai"], strict=True)]
    spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
    print(f"  google-genai / gemlive, round by round: median {statistics.median(ratios):.2f} {spread}")


def main() -> None:
    """Runs the benchmark, or one of its processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    if sys.argv[1:2] == ["server"]:
        pin(1)
        asyncio.run(serve(sys.argv[2], int(sys.argv[3])))
    elif sys.argv[1:2] == ["client"]:
        pin(0)
        context = ssl.create_default_context(cafile=sys.argv[4])
        receive = receive_with_gemlive if sys.argv[2] == "gemlive" else receive_with_google_genai
        print(json.dumps(receive(sys.argv[3], context)))
    else:
        arguments = parser.parse_args()
        run(arguments.messages, arguments.rounds)


if __name__ == "__main__":
    main()
