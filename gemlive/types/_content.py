"""Content: what user and model say to each other, in parts. The same classes travel in both directions."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from gemlive.types._base import EMPTY, Wire, duration, sized


@attrs.frozen(kw_only=True, repr=False)
class Blob(Wire):
    """Binary data inside a message; base64 on the wire.

    Attributes:
        data: the bytes. Audio from the model is s16le mono PCM.
        mime_type: what they are. Audio to the model names its rate (``audio/pcm;rate=16000``); audio from Google AI
            does so too (``audio/pcm;rate=24000``), from Vertex AI it does not (``audio/pcm``, 24 kHz).
        display_name: a name to refer to it by.
    """

    data: bytes | None = attrs.field(default=None, repr=sized)
    mime_type: str | None = None
    display_name: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class FileData(Wire):
    """A reference to a file that the service can read.

    Attributes:
        file_uri: where it is.
        mime_type: what it is.
        display_name: a name to refer to it by.
    """

    file_uri: str | None = None
    mime_type: str | None = None
    display_name: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class PartialArg(Wire):
    """A piece of a function call's arguments, streamed. Vertex AI only.

    Attributes:
        json_path: which argument, as a JSON path (``$.city``).
        string_value: a piece of its text; pieces append while ``will_continue`` is True.
        number_value: its number.
        bool_value: its truth value.
        null_value: ``"NULL_VALUE"`` when the argument is null.
        will_continue: whether more pieces of this argument follow.
    """

    json_path: str | None = None
    string_value: str | None = None
    number_value: float | None = None
    bool_value: bool | None = None
    null_value: str | None = None
    will_continue: bool | None = None


@attrs.frozen(kw_only=True, repr=False)
class FunctionCall(Wire):
    """The model asks for a function of the program to be called.

    Attributes:
        id: which call this is; the answer repeats it. None from some older Vertex AI models.
        name: the function's name.
        args: its arguments by name; empty when the server sends none.
        partial_args: streamed arguments instead of ``args``. Vertex AI only.
        will_continue: whether more of this call follows. Vertex AI only.
    """

    id: str | None = None
    name: str | None = None
    args: Mapping[str, object] = EMPTY
    partial_args: tuple[PartialArg, ...] | None = None
    will_continue: bool | None = None


@attrs.frozen(kw_only=True, repr=False)
class FunctionResponsePart(Wire):
    """Media in a function's answer.

    Attributes:
        inline_data: the media itself.
        file_data: a reference to it.
        media_processing: a ``MediaProcessing``.
    """

    inline_data: Blob | None = None
    file_data: FileData | None = None
    media_processing: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class FunctionResponse(Wire):
    """The answer to a function call.

    Attributes:
        id: the id of the call. Google AI requires it, Vertex AI does not.
        name: the function's name.
        response: the answer. The keys ``output`` and ``error`` are recognised; without them the whole is the output.
        scheduling: a ``Scheduling``: when the model takes up the answer of a non-blocking call. Some pages put it
            inside ``response``; the service takes either (docs/protocol.md 3.8).
        will_continue: True keeps the call open for further answers. Google AI only.
        parts: media that belongs to the answer.
    """

    id: str | None = None
    name: str | None = None
    response: Mapping[str, object] | None = None
    scheduling: str | None = None
    will_continue: bool | None = None
    parts: tuple[FunctionResponsePart, ...] | None = None


@attrs.frozen(kw_only=True, repr=False)
class ExecutableCodePart(Wire):
    """Code that the model wrote for the server to run.

    Attributes:
        code: the source.
        language: a ``Language``.
        id: pairs it with its result.
    """

    code: str | None = None
    language: str | None = None
    id: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class CodeExecutionResultPart(Wire):
    """What running the model's code gave.

    Attributes:
        outcome: an ``Outcome``.
        output: standard output, or the error.
        id: the id of the code.
    """

    outcome: str | None = None
    output: str | None = None
    id: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class VideoMetadata(Wire):
    """Which stretch of a video is meant, and how densely it is looked at.

    Attributes:
        start_offset_s: seconds from its beginning.
        end_offset_s: seconds from its beginning.
        fps: frames a second that the model sees.
    """

    start_offset_s: float | None = attrs.field(default=None, metadata=duration("startOffset"))
    end_offset_s: float | None = attrs.field(default=None, metadata=duration("endOffset"))
    fps: float | None = None


@attrs.frozen(kw_only=True, repr=False)
class PartMediaResolution(Wire):
    """How closely this one part is looked at.

    Attributes:
        level: a ``MediaResolution``.
        num_tokens: tokens to spend on it.
    """

    level: str | None = None
    num_tokens: int | None = None


@attrs.frozen(kw_only=True, repr=False)
class SpeechMetadata(Wire):
    """How a text is to be spoken.

    Attributes:
        speaker: who speaks it.
        style: in which manner.
    """

    speaker: str | None = None
    style: str | None = None


@attrs.frozen(kw_only=True, repr=False)
class WordInfo(Wire):
    """When one word was spoken.

    Attributes:
        word: the word.
        start_offset_s: seconds of audio since the stream began.
        end_offset_s: seconds of audio since the stream began.
    """

    word: str | None = None
    start_offset_s: float | None = attrs.field(default=None, metadata=duration("startOffset"))
    end_offset_s: float | None = attrs.field(default=None, metadata=duration("endOffset"))


@attrs.frozen(kw_only=True, repr=False)
class Transcription(Wire):
    """Speech as text.

    Attributes:
        text: the words. None in the opening ``{}`` and in the closing mark of Vertex AI.
        finished: whether the utterance is complete. Vertex AI sends it; Google AI was never seen to
            (docs/protocol.md 4.2).
        language_code: BCP-47 code; set in live translation.
        speaker_label: who spoke, with diarization.
        words: each word with its times, when asked for.
        start_offset_s: seconds of audio since the stream began.
        end_offset_s: seconds of audio since the stream began.
    """

    text: str | None = None
    finished: bool | None = None
    language_code: str | None = None
    speaker_label: str | None = None
    words: tuple[WordInfo, ...] | None = None
    start_offset_s: float | None = attrs.field(default=None, metadata=duration("startOffset"))
    end_offset_s: float | None = attrs.field(default=None, metadata=duration("endOffset"))


@attrs.frozen(kw_only=True, repr=False)
class ToolCallPart(Wire):
    """A call of a tool that the server runs itself. Google AI only.

    Attributes:
        id: pairs it with its response.
        tool_type: a ``ToolType``.
        args: what the tool was asked.
    """

    id: str | None = None
    tool_type: str | None = None
    args: Mapping[str, object] | None = None


@attrs.frozen(kw_only=True, repr=False)
class ToolResponsePart(Wire):
    """What a tool that the server ran itself gave back. Google AI only.

    Attributes:
        id: the id of the call.
        tool_type: a ``ToolType``.
        response: what it gave.
    """

    id: str | None = None
    tool_type: str | None = None
    response: Mapping[str, object] | None = None


@attrs.frozen(kw_only=True, repr=False)
class Part(Wire):
    """A piece of content: one kind of data, with remarks about it.

    Attributes:
        text: text.
        thought: True when the text is the model's thought summary and not its answer.
        thought_signature: opaque bytes that stand for the thought when it is sent back.
        inline_data: audio, an image or video.
        file_data: a reference to a file.
        function_call: a call of one of the program's functions.
        function_response: the answer to one.
        executable_code: code that the model wrote.
        code_execution_result: what running it gave.
        video_metadata: which stretch of a video is meant.
        media_resolution: how closely the media is looked at.
        media_processing: a ``MediaProcessing``.
        speech_metadata: how the text is to be spoken.
        audio_transcription: the words of the audio beside it.
        tool_call: a call of one of the server's tools. Google AI only.
        tool_response: the answer to one. Google AI only.
        part_metadata: free remarks of the program. Google AI only.
    """

    text: str | None = None
    thought: bool | None = None
    thought_signature: bytes | None = attrs.field(default=None, repr=sized)
    inline_data: Blob | None = None
    file_data: FileData | None = None
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None
    executable_code: ExecutableCodePart | None = None
    code_execution_result: CodeExecutionResultPart | None = None
    video_metadata: VideoMetadata | None = None
    media_resolution: PartMediaResolution | None = None
    media_processing: str | None = None
    speech_metadata: SpeechMetadata | None = None
    audio_transcription: Transcription | None = None
    tool_call: ToolCallPart | None = None
    tool_response: ToolResponsePart | None = None
    part_metadata: Mapping[str, object] | None = None


@attrs.frozen(kw_only=True, repr=False)
class Content(Wire):
    """What one side said at one time.

    Attributes:
        parts: the pieces, in order.
        role: ``"user"``, ``"model"``, or ``"system"`` for an instruction in mid-session. Vertex AI sends ``"model"``
            with every answer, Google AI sends nothing.
    """

    parts: tuple[Part, ...] | None = None
    role: str | None = None
