"""Google's own SDK, unmodified, talks to the emulator over a real TLS socket.

It insists on TLS (docs/protocol.md 1.1), so an authority is made for the test and given to both sides. The SDK runs on
asyncio in a thread of its own, as a program that uses it would; the server runs here.
"""

from __future__ import annotations

import asyncio
import functools
import math
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trustme

from gemlive.emulator import Conversation, serve

if TYPE_CHECKING:
    from google.genai.live import AsyncSession

pytestmark = pytest.mark.socket

MODEL = "gemini-2.5-flash-native-audio-latest"
TEXT_MODEL = "gemini-live-2.5-flash-preview"
WEATHER = {
    "function_declarations": [
        {
            "name": "get_weather",
            "description": "tells the weather",
            "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}},
        }
    ]
}
TONE = b"".join(struct.pack("<h", int(6000 * math.sin(sample / 9))) for sample in range(16000))

Talk = Callable[["AsyncSession"], Awaitable[list[Any]]]


@functools.cache
def _tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


async def _converse(
    talk: Talk, config: dict[str, Any], *, model: str = MODEL, vertex: bool = False
) -> tuple[list[Any], Conversation]:
    """Returns what ``talk`` returned, and the emulator's notes on the conversation."""
    server_context, client_context = _tls()
    async with serve(ssl_context=server_context) as server:
        call = functools.partial(_run_sdk, talk, config, server.url, client_context, model=model, vertex=vertex)
        with trio.fail_after(30):
            received = await trio.to_thread.run_sync(asyncio.run, call())
        (conversation,) = server.conversations
    return received, conversation


async def _run_sdk(
    talk: Talk, config: dict[str, Any], url: str, context: ssl.SSLContext, *, model: str, vertex: bool
) -> list[Any]:
    from google import genai
    from google.genai.types import HttpOptions
    from google.oauth2.credentials import Credentials

    options = HttpOptions(base_url=url.replace("wss", "https"), async_client_args={"ssl": context})
    if vertex:
        token = Credentials(token="canary-token")  # type: ignore[no-untyped-call]
        client = genai.Client(
            vertexai=True, project="p", location="us-central1", credentials=token, http_options=options
        )
    else:
        client = genai.Client(api_key="canary-key", http_options=options)
    async with client.aio.live.connect(model=model, config=config) as session:  # type: ignore[arg-type]
        return list(await talk(session))


async def _turn(session: AsyncSession) -> list[Any]:
    return [message async for message in session.receive()]


def _words(messages: list[Any]) -> str:
    contents = [message.server_content for message in messages if message.server_content is not None]
    return "".join(content.output_transcription.text or "" for content in contents if content.output_transcription)


def _audio_s(messages: list[Any]) -> float:
    return sum(len(message.data or b"") for message in messages) / 48000


async def test_a_text_turn() -> None:
    async def talk(session: AsyncSession) -> list[Any]:
        await session.send_client_content(turns={"role": "user", "parts": [{"text": "hello"}]}, turn_complete=True)
        return await _turn(session)

    received, _ = await _converse(talk, {"response_modalities": ["TEXT"]}, model=TEXT_MODEL)
    assert "".join(message.text or "" for message in received) == 'gemlive emulator: I heard "hello".'
    assert received[-1].server_content.turn_complete
    assert received[-1].usage_metadata.total_token_count > 0


async def test_an_audio_turn() -> None:
    async def talk(session: AsyncSession) -> list[Any]:
        from google.genai.types import Blob

        pcm = TONE + bytes(32000)
        for start in range(0, len(pcm), 1280):
            chunk = Blob(data=pcm[start : start + 1280], mime_type="audio/pcm;rate=16000")
            await session.send_realtime_input(audio=chunk)
        return await _turn(session)

    config = {"response_modalities": ["AUDIO"], "input_audio_transcription": {}, "output_audio_transcription": {}}
    received, conversation = await _converse(talk, config)
    assert _words(received) == 'gemlive emulator: I heard "[speech, 1.0 s]".'
    assert _audio_s(received) == pytest.approx(1.0, abs=0.1)
    assert conversation.audio_received_s == 2.0


async def test_a_tool_call_that_is_answered() -> None:
    config = {"tools": [WEATHER], "output_audio_transcription": {}}
    received, conversation = await _converse(functools.partial(_call_weather, turns=1), config)
    assert _words(received).endswith('get_weather returned {"output": "fog"}.')
    assert conversation.said[0].calls[0].args == {"city": "Oslo"}


async def test_vertex_mode() -> None:
    config = {"tools": [WEATHER], "output_audio_transcription": {}}
    # The round is two turns on Vertex AI, and the SDK's receive() ends after each (docs/protocol.md 5).
    received, conversation = await _converse(functools.partial(_call_weather, turns=2), config, vertex=True)
    assert conversation.model == f"projects/p/locations/us-central1/publishers/google/models/{MODEL}"
    assert [said.complete for said in conversation.said] == [True, True]
    assert _words(received).endswith('get_weather returned {"output": "fog"}.')
    assert received[-1].usage_metadata.response_token_count > 0


async def _call_weather(session: AsyncSession, *, turns: int) -> list[Any]:
    from google.genai.types import FunctionResponse

    await session.send_realtime_input(text='call get_weather {"city": "Oslo"}')
    received = []
    for _ in range(turns):
        async for message in session.receive():
            received.append(message)
            for call in message.tool_call.function_calls or () if message.tool_call is not None else ():
                answer = FunctionResponse(id=call.id, name=call.name, response={"output": "fog"})
                await session.send_tool_response(function_responses=[answer])
    return received


async def test_a_refusal_arrives_as_the_sdk_reports_those_of_the_service() -> None:
    from google.genai.errors import APIError

    with pytest.raises(APIError, match="No matching speaker voice found for name: alloy") as caught:
        await _converse(_turn, {"speech_config": {"voice_config": {"prebuilt_voice_config": {"voice_name": "alloy"}}}})
    assert caught.value.code == 1007
