"""How a service and a model family put things: which frames say what, and in which order. Values in, values out.

Everything here follows the recordings as docs/protocol.md 4 and 5 sum them up. What depends on the family is read from
``families``; what depends on the backend alone stands here (docs/protocol.md 10).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import attrs

from gemlive.audio import OUTPUT_MIME_TYPE
from gemlive.emulator._route import Backend
from gemlive.emulator._usage import Tally
from gemlive.families import Family
from gemlive.types import (
    Blob,
    Content,
    ExecutableCodePart,
    FunctionCall,
    GroundingMetadata,
    Part,
    ServerContent,
    ServerGoAway,
    ServerMessage,
    ServerSetupComplete,
    ServerToolCall,
    ServerToolCallCancellation,
    ServerVoiceActivity,
    SessionResumptionUpdate,
    Setup,
    Transcription,
    UsageMetadata,
)


@attrs.frozen
class Utterance:
    """One message of a spoken answer.

    Attributes:
        message: the message; None for words that are said and not transcribed.
        audio_bytes: how much audio is in it.
        text: the words of the transcript in it, or that it stands for.
    """

    message: ServerMessage | None
    audio_bytes: int = 0
    text: str = ""


@attrs.frozen
class Dialect:
    """The frames of one backend for one family, under one setup.

    Attributes:
        backend: the service.
        family: the family of the model.
        setup: what the client asked for.
    """

    backend: Backend
    family: Family
    setup: Setup

    # --- what was asked for ---

    @property
    def modality(self) -> str:
        """What answers come in: the modality of the setup, else AUDIO, the service's default (docs/protocol.md 3.2)."""
        generation = self.setup.generation_config
        asked = generation.response_modalities if generation is not None else None
        if asked:
            return asked[0].upper()
        known = self.family.response_modalities
        return "AUDIO" if not known or "AUDIO" in known else known[0]

    @property
    def transcribes_input(self) -> bool:
        """Whether the client is told what it said. A transcriber has nothing else to tell."""
        return self.setup.input_audio_transcription is not None or self.family.speech_to_text_only

    @property
    def transcribes_output(self) -> bool:
        """Whether speech comes with its words; 3.1 sends them unasked (docs/protocol.md 3.1)."""
        return self.setup.output_audio_transcription is not None or self.family.unasked_output_transcripts

    @property
    def updates_resumption(self) -> bool:
        """Whether resumption handles are sent: when asked for, and by 3.1 always (docs/protocol.md 4.6)."""
        if not self.family.resumption:
            return False
        return self.setup.session_resumption is not None or self._updates_unasked

    @property
    def _updates_unasked(self) -> bool:
        return self.family.unasked_resumption_updates and self.backend == "google_ai"

    @property
    def updates_while_talking(self) -> bool:
        """Whether a handle comes inside a turn as well, as 3.1 sends it."""
        return self.updates_resumption and self._updates_unasked

    @property
    def signals_voice(self) -> bool:
        """Whether the client is told when speech begins and ends."""
        return bool(self.setup.explicit_vad_signal) or self.family.speech_to_text_only

    @property
    def ends_turn_at_tool_call(self) -> bool:
        """Whether a tool round is two turns: on Vertex AI it is (docs/protocol.md 5)."""
        return self.backend == "vertex"

    # --- frames ---

    def setup_complete(self, session_id: str) -> ServerMessage:
        """Returns the answer to the setup; only Vertex AI names the session (docs/protocol.md 4.1)."""
        return ServerMessage(
            setup_complete=ServerSetupComplete(session_id=session_id if self.backend == "vertex" else None)
        )

    def opening(self) -> list[ServerMessage]:
        """Returns what comes first in a response, before anything is known (docs/protocol.md 4.2)."""
        return [_content()] if self.family.empty_content_first else []

    def before_answer(self, heard: str) -> list[ServerMessage]:
        """Returns what comes between the opening and the answer: what was heard, and a mark that words will follow.

        Args:
            heard: the words of the user's speech; empty when nothing was spoken.
        """
        messages: list[ServerMessage] = []
        if heard and self.transcribes_input:
            messages += [*self.heard(heard), *self.opening()]
        if self._writes_before_speaking:
            messages.append(_content(output_transcription=Transcription()))
        return messages

    def after_answer(self, *, has_spoken: bool) -> list[ServerMessage]:
        """Returns what closes the words of an answer that had none, where a mark has opened them."""
        return [_words_finished()] if self._writes_before_speaking and not has_spoken else []

    @property
    def _writes_before_speaking(self) -> bool:
        # Recorded of a half-cascade model on Vertex AI, and not of the native one (docs/protocol.md 5): an empty
        # transcript, all words, the mark that they are finished, then all audio.
        is_native = self.family.thinking == "budget"
        return self.backend == "vertex" and not is_native and self.modality == "AUDIO" and self.transcribes_output

    def heard(self, text: str) -> list[ServerMessage]:
        """Returns the transcript of the user's speech: in fragments from 2.5, whole from 3.1 and Vertex AI."""
        if self.backend == "vertex":
            return [_content(input_transcription=Transcription(text=text, finished=True))]
        if self.family.speech_to_text_only:
            interim = ServerContent(interim_input_transcription=Transcription(text=text))
            return [ServerMessage(server_content=interim), _content(input_transcription=Transcription(text=text))]
        if self.family.merges_transcript:
            return [_content(input_transcription=Transcription(text=text))]
        return [_content(input_transcription=Transcription(text=piece)) for piece in _fragments(text, words=1)]

    def thought(self, text: str) -> ServerMessage:
        """Returns a thought summary."""
        return self._model_turn(Part(text=text, thought=True))

    def text(self, text: str) -> list[ServerMessage]:
        """Returns an answer as text: a word or two first, the rest in larger pieces, as recorded."""
        first, *rest = _fragments(text, words=1) or [text]
        return [self._model_turn(Part(text=piece)) for piece in (first, *_fragments("".join(rest), words=8))]

    def speech(self, pcm: bytes, transcript: str) -> Iterator[Utterance]:
        """Yields a spoken answer: audio in the family's chunks, and between them (3.1: with them) its words.

        Args:
            pcm: s16le mono 24 kHz.
            transcript: what it says; empty for no transcript.
        """
        chunks = list(self._chunks(pcm))
        pieces = _fragments(transcript, words=2)
        if not chunks or self._writes_before_speaking:
            # Without audio, an answer may be a transcript alone (docs/protocol.md 4.2).
            yield from map(self._words, pieces)
            pieces = []
        for index, chunk in enumerate(chunks):
            due = [p for place, p in enumerate(pieces) if place * len(chunks) // len(pieces) == index]
            if self.family.merges_transcript:
                yield self._audio(chunk, "".join(due))
                continue
            yield from map(self._words, due)
            # On Vertex AI the words are finished before the audio is, by one chunk or by all (docs/protocol.md 5).
            marks_at = 0 if self._writes_before_speaking else len(chunks) - 1
            if index == marks_at and transcript and self.backend == "vertex" and self.transcribes_output:
                yield Utterance(_words_finished())
            yield self._audio(chunk, "")

    def _words(self, text: str) -> Utterance:
        if not self.transcribes_output:
            return Utterance(None, text=text)
        return Utterance(_content(output_transcription=Transcription(text=text)), text=text)

    def _audio(self, pcm: bytes, words: str) -> Utterance:
        mime_type = "audio/pcm" if self.backend == "vertex" else OUTPUT_MIME_TYPE
        turn = self._turn_content(Part(inline_data=Blob(mime_type=mime_type, data=pcm)))
        transcript = Transcription(text=words) if words and self.transcribes_output else None
        return Utterance(
            _content(model_turn=turn, output_transcription=transcript),
            audio_bytes=len(pcm),
            text=words,
        )

    def _chunks(self, pcm: bytes) -> Iterator[bytes]:
        start, size = 0, self.family.first_audio_chunk_bytes
        while start < len(pcm):
            yield pcm[start : start + size]
            start, size = start + size, self.family.audio_chunk_bytes

    def tool_call(self, calls: Sequence[FunctionCall]) -> list[ServerMessage]:
        """Returns a request to call functions; half-cascade models write it as code first (docs/protocol.md 4.2)."""
        messages = []
        if self.family.code_before_tool_call:
            source = "\n".join(f"print(default_api.{call.name}({_arguments(call)}))" for call in calls)
            messages.append(self._model_turn(Part(executable_code=ExecutableCodePart(language="PYTHON", code=source))))
        return [*messages, ServerMessage(tool_call=ServerToolCall(function_calls=tuple(calls)))]

    def cancellation(self, ids: Sequence[str]) -> ServerMessage:
        """Returns the notice that answers to these calls are no longer wanted."""
        return ServerMessage(tool_call_cancellation=ServerToolCallCancellation(ids=tuple(ids)))

    def generation_complete(self) -> ServerMessage:
        """Returns the mark that everything has been produced."""
        return _content(generation_complete=True)

    def interrupted(self) -> ServerMessage:
        """Returns the mark that the response was cut short."""
        return _content(interrupted=True)

    def turn_complete(
        self,
        usage: UsageMetadata,
        *,
        reason: str | None = None,
        status: str | None = None,
        grounding: GroundingMetadata | None = None,
    ) -> ServerMessage:
        """Returns the end of a turn with its usage; Vertex AI puts an empty grounding on it (docs/protocol.md 4.2).

        Args:
            usage: the turn's token counts.
            reason: a ``TurnCompleteReason``, None for the ordinary end.
            status: an ``InteractionStatus``; None says that the model is idle, where the family says such things.
            grounding: search results; None for none.
        """
        if self.family.idle_signal == "interaction_status":
            status = status or "IDLE"
        return ServerMessage(
            server_content=ServerContent(
                turn_complete=True,
                turn_complete_reason=reason,
                interaction_status=status,
                grounding_metadata=grounding or (GroundingMetadata() if self.backend == "vertex" else None),
            ),
            usage_metadata=usage,
        )

    def usage(self, tally: Tally) -> UsageMetadata:
        """Returns token counts under the backend's names (docs/protocol.md 4.8)."""
        response, thoughts = tally.response_tokens, tally.thought_tokens or None
        if self.backend == "vertex":
            return UsageMetadata(
                prompt_token_count=tally.prompt_tokens,
                candidates_token_count=response,
                total_token_count=tally.prompt_tokens + response,
                prompt_tokens_details=tally.prompt_details,
                candidates_tokens_details=tally.response_details,
                thoughts_token_count=thoughts,
            )
        # The details name the modality of the answer only; calls are in the total and in none of them.
        details = tuple(detail for detail in tally.response_details if detail.modality == self.modality)
        return UsageMetadata(
            prompt_token_count=tally.prompt_tokens,
            response_token_count=response or None,
            total_token_count=tally.prompt_tokens + response,
            prompt_tokens_details=tally.prompt_details,
            response_tokens_details=details or None,
            thoughts_token_count=thoughts,
        )

    def resumption_update(self, handle: str | None, *, last_index: int | None = None) -> ServerMessage:
        """Returns a resumption update.

        Args:
            handle: what resumes from here; None says that nothing does.
            last_index: the last client message in the saved state; sent in transparent mode only.
        """
        asked = self.setup.session_resumption
        is_transparent = asked is not None and bool(asked.transparent)
        return ServerMessage(
            session_resumption_update=SessionResumptionUpdate(
                new_handle=handle,
                resumable=handle is not None,
                last_consumed_client_message_index=last_index if is_transparent and handle is not None else None,
            )
        )

    def go_away(self, time_left_s: float | None) -> ServerMessage:
        """Returns the notice that the connection will end."""
        return ServerMessage(go_away=ServerGoAway(time_left_s=time_left_s))

    def voice_activity(self, kind: str, offset_s: float) -> ServerMessage:
        """Returns the notice that speech began or ended, beside an empty content (docs/protocol.md 4.9)."""
        return ServerMessage(
            server_content=ServerContent(), voice_activity=ServerVoiceActivity(type=kind, audio_offset_s=offset_s)
        )

    def _model_turn(self, part: Part) -> ServerMessage:
        return _content(model_turn=self._turn_content(part))

    def _turn_content(self, part: Part) -> Content:
        # One part a message, in every recorded family; the role on Vertex AI only (docs/protocol.md 4.2).
        return Content(role="model" if self.backend == "vertex" else None, parts=(part,))


def _content(
    *,
    model_turn: Content | None = None,
    generation_complete: bool | None = None,
    interrupted: bool | None = None,
    input_transcription: Transcription | None = None,
    output_transcription: Transcription | None = None,
) -> ServerMessage:
    return ServerMessage(
        server_content=ServerContent(
            model_turn=model_turn,
            generation_complete=generation_complete,
            interrupted=interrupted,
            input_transcription=input_transcription,
            output_transcription=output_transcription,
        )
    )


def _words_finished() -> ServerMessage:
    return _content(output_transcription=Transcription(finished=True))


def _fragments(text: str, *, words: int) -> list[str]:
    """Returns the text in pieces of some words each; put together they are the text, every character of it."""
    found = re.findall(r"\s*\S+\s*$|\s*\S+", text)
    return ["".join(found[start : start + words]) for start in range(0, len(found), words)]


def _arguments(call: FunctionCall) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in call.args.items())
