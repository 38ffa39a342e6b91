"""What a person is told of a session's events: values in, words out.

Speech comes in pieces that belong together on a line, so an event becomes either a ``Piece`` of what somebody says or a
``Line`` of its own. The texts are as the server sent them; ``_screen`` makes them harmless.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from gemlive.cli._output import Line, Piece
from gemlive.types import (
    CodeResult,
    Event,
    ExecutableCode,
    GoAway,
    Grounding,
    InputDropped,
    InputTranscript,
    Interrupted,
    Lagged,
    ModelAudio,
    ModelMedia,
    ModelText,
    ModelThought,
    OrphanedToolResult,
    OutputTranscript,
    Reconnected,
    Reconnecting,
    ServerMessageError,
    SessionClosed,
    ToolCall,
    ToolCallCancellation,
    TurnComplete,
    UnknownMessage,
    UrlContext,
    Usage,
    UsageMetadata,
    VoiceActivity,
)


class Narrator:
    """Turns events into words; remembers only how much speech of the current response has come."""

    def __init__(self) -> None:
        self.audio_s = 0.0

    def tell(self, event: Event) -> Iterator[Piece | Line]:
        """Yields what ``event`` adds; nothing for what only a program needs to know."""
        match event:
            case ModelAudio():
                self.audio_s += event.duration_ms / 1000
            case Interrupted(reason=reason):
                # Not "thrown away": who plays it has played a part by now, and we do not know which.
                yield Line("interrupted", _interruption(reason))
                self.audio_s = 0.0
            case TurnComplete():
                if self.audio_s:
                    yield Line("audio", f"{self.audio_s:.1f} s of speech received")
                self.audio_s = 0.0
                yield Line("turn over", _turn_end(event))
            case _:
                yield from _words(event)


def _words(event: Event) -> Iterator[Piece | Line]:
    match event:
        case ModelText(text=text) | OutputTranscript(text=text) if text:
            yield Piece("model", text)
        case ModelThought(text=text) if text:
            yield Piece("thought", text)
        case InputTranscript(text=text) if text:
            yield Piece("you", text)
        case ModelMedia():
            yield Line("media", event.file_uri or f"{event.mime_type or 'unknown type'}, {len(event.data)} bytes")
        case VoiceActivity():
            yield Line("hears you", _activity(event))
        case ToolCall(calls=calls):
            for call in calls:
                yield Line("tool call", f"{call.name or '(no name)'}({_json(call.args)})")
        case ToolCallCancellation(ids=ids):
            yield Line("cancelled", f"tool calls {', '.join(ids)}")
        case ExecutableCode(code=code):
            yield Line("runs code", code)
        case CodeResult():
            yield Line("code gave", event.output or event.outcome or "nothing")
        case Usage(metadata=metadata):
            yield Line("tokens", _tokens(metadata))
        case Grounding(metadata=metadata):
            for query in metadata.web_search_queries or ():
                yield Line("searched", query)
        case UrlContext(metadata=metadata):
            for page in metadata.url_metadata or ():
                yield Line("read", page.retrieved_url or "a page")
        case _:
            yield from _lifecycle_words(event)


def _lifecycle_words(event: Event) -> Iterator[Line]:
    match event:
        case GoAway(time_left_s=left):
            yield Line("go away", "the server ends this connection soon" if left is None else f"in {left:g} s")
        case Reconnecting():
            why = f" ({_close(event.code, event.reason)})" if event.reason or event.code else ""
            yield Line("reconnect", f"attempt {event.attempt} in {event.delay_s:.1f} s{why}")
        case Reconnected():
            memory = "the conversation goes on" if event.resumed else "the model remembers nothing of before"
            lost = f"; {event.dropped_audio_ms / 1000:.1f} s of audio were too old" if event.dropped_audio_ms else ""
            yield Line("connected", memory + lost)
        case InputDropped():
            yield Line("dropped", f"{event.audio_ms / 1000:.1f} s of audio not sent: {event.reason}")
        case OrphanedToolResult():
            yield Line("orphaned", f"the answer of {event.name or event.call_id or 'a tool'} came too late")
        case Lagged():
            yield Line("lagged", f"{event.events} events were lost here")
        case ServerMessageError(problems=problems):
            yield Line("malformed", "; ".join(problems))
        case UnknownMessage(raw=raw):
            yield Line("unknown", f"a message with {', '.join(map(str, raw))}")
        case SessionClosed(lost=True):
            yield Line("lost", _close(event.code, event.reason))
        case _:
            pass


def _interruption(reason: str) -> str:
    if reason == "connection":
        return "the connection ended in the middle of the answer"
    return "the model stops, since you spoke"


def _turn_end(event: TurnComplete) -> str:
    if event.interaction_status == "IN_PROGRESS":
        return "the model goes on by itself"
    return event.reason or ("the model expects you to go on" if event.waiting_for_input else "")


def _activity(event: VoiceActivity) -> str:
    what = {
        "ACTIVITY_START": "speech begins",
        "ACTIVITY_END": "speech ends",
        "VAD_SIGNAL_TYPE_SOS": "speech begins",
        "VAD_SIGNAL_TYPE_EOS": "speech ends",
    }.get(event.kind, event.kind)
    return what if event.offset_s is None else f"{what} at {event.offset_s:.1f} s"


def _tokens(usage: UsageMetadata) -> str:
    answer = usage.candidates_token_count if usage.response_token_count is None else usage.response_token_count
    parts = [("prompt", usage.prompt_token_count), ("thoughts", usage.thoughts_token_count), ("answer", answer)]
    details = ", ".join(f"{name} {count}" for name, count in parts if count is not None)
    if usage.total_token_count is None:
        return details or "not counted"
    return f"{usage.total_token_count}" + (f" ({details})" if details else "")


def _close(code: int | None, reason: str) -> str:
    return ": ".join(part for part in ("" if code is None else str(code), reason) if part) or "no reason given"


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(dict(value), ensure_ascii=False, default=str)


__all__ = ["Narrator"]
