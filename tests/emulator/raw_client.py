"""A client that knows as little as possible: trio-websocket and JSON, nothing of gemlive's own reading or writing."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio_websocket

from gemlive.emulator import Server

GOOGLE_AI = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
VERTEX = "/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent"
VERTEX_MODEL = "projects/p/locations/us-central1/publishers/google/models/"
KEY = (("x-goog-api-key", "k"),)

Json = dict[str, Any]


class RawClient:
    """One WebSocket to the emulator. ``frames`` has every frame as it came."""

    def __init__(self, socket: trio_websocket.WebSocketConnection, stream: trio.abc.Stream) -> None:
        self.socket = socket
        self.stream = stream
        self.frames: list[str | bytes] = []

    async def send(self, message: Mapping[str, Any] | str) -> None:
        await self.socket.send_message(message if isinstance(message, str) else json.dumps(message))

    async def setup(self, model: str = "models/gemini-2.5-flash-native-audio-latest", **fields: Any) -> Json:
        await self.send({"setup": {"model": model, **fields}})
        return await self.receive()

    async def say(self, text: str) -> None:
        await self.send({"realtimeInput": {"text": text}})

    async def play(self, pcm: bytes, *, rate_hz: int = 16000) -> None:
        for start in range(0, len(pcm), 1280):
            data = base64.b64encode(pcm[start : start + 1280]).decode()
            await self.send({"realtimeInput": {"audio": {"data": data, "mimeType": f"audio/pcm;rate={rate_hz}"}}})

    async def receive(self) -> Json:
        frame = await self.socket.get_message()
        self.frames.append(frame)
        message: Json = json.loads(frame)
        return message

    async def turn(self) -> list[Json]:
        """Returns the messages up to and with ``turnComplete``."""
        messages = [await self.receive()]
        while not messages[-1].get("serverContent", {}).get("turnComplete"):
            messages.append(await self.receive())
        return messages

    async def until_closed(self) -> tuple[list[Json], int, str]:
        """Returns the messages that still come, then the close code and reason (1006 for an end without Close)."""
        messages = []
        while True:
            try:
                messages.append(await self.receive())
            except trio_websocket.ConnectionClosed as closed:
                reason = closed.reason
                break
        assert reason is not None
        return messages, int(reason.code), reason.reason or ""


@asynccontextmanager
async def open_client(
    server: Server, path: str = GOOGLE_AI, *, headers: Sequence[tuple[str, str]] = KEY
) -> AsyncIterator[RawClient]:
    """Connects in memory and upgrades; leaving closes the stream at once, with no goodbye."""
    assert server.connect is not None
    stream = await server.connect("localhost", 80)
    try:
        async with trio.open_nursery() as nursery:
            socket = await trio_websocket.wrap_client_stream(
                nursery,
                stream,  # type: ignore[arg-type]  # any stream will do
                "localhost",
                path,
                extra_headers=[(name.encode(), value.encode()) for name, value in headers],
            )
            yield RawClient(socket, stream)
            await trio.aclose_forcefully(stream)
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


def kind(message: Mapping[str, Any]) -> str:
    """Returns what a server message is, in one word or several joined by ``+``."""
    names = {
        "setupComplete": "setup",
        "sessionResumptionUpdate": "update",
        "toolCall": "call",
        "toolCallCancellation": "cancel",
        "goAway": "goAway",
        "voiceActivity": "voice",
    }
    found = [name for key, name in names.items() if key in message]
    content = message.get("serverContent")
    if content is not None:
        found += _content_kinds(content)
        if not content:
            found.append("empty")
    if "usageMetadata" in message:
        found.append("usage")
    return "+".join(found)


def _content_kinds(content: Mapping[str, Any]) -> list[str]:
    found = []
    for part in content.get("modelTurn", {}).get("parts", ()):
        if part.get("thought"):
            found.append("thought")
        elif "inlineData" in part:
            found.append("audio")
        elif "executableCode" in part:
            found.append("code")
        elif "text" in part:
            found.append("text")
    marks = {
        "inputTranscription": "heard",
        "outputTranscription": "words",
        "generationComplete": "generated",
        "interrupted": "interrupted",
        "turnComplete": "complete",
    }
    return found + [name for key, name in marks.items() if key in content]


def kinds(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the kinds of messages in order, equal neighbours once."""
    found: list[str] = []
    for message in messages:
        if not found or found[-1] != kind(message):
            found.append(kind(message))
    return found


def words(messages: Sequence[Mapping[str, Any]]) -> str:
    """Returns what the model said, as text or in transcripts."""
    said = ""
    for message in messages:
        content = message.get("serverContent", {})
        said += content.get("outputTranscription", {}).get("text", "")
        for part in content.get("modelTurn", {}).get("parts", ()):
            said += "" if part.get("thought") else part.get("text", "")
    return said


def audio(messages: Sequence[Mapping[str, Any]]) -> bytes:
    """Returns all audio of the messages."""
    parts = [
        part
        for message in messages
        for part in message.get("serverContent", {}).get("modelTurn", {}).get("parts", ())
        if "inlineData" in part
    ]
    return b"".join(base64.b64decode(part["inlineData"]["data"], validate=True) for part in parts)
