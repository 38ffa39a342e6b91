"""What each model family accepts and does, as data that users can correct.

The families of models differ in what they refuse and in how they behave, and the differences change faster than
programs do. So they are one table (``families.toml`` beside this file, every fact with its source) and not conditions
spread over the rooms: the session reads from it what to send and what to refuse before dialling, and the emulator plays
the same facts from the server's side. A fact that is wrong is corrected by the user in a TOML file, without waiting for
a release.
"""

from __future__ import annotations

import functools
import math
import os
import tomllib
import types
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from importlib import resources
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from gemlive.errors import ConfigError

UNKNOWN = "unknown"
"""The name of the family of every model that no other family's patterns match."""


@attrs.frozen(kw_only=True)
class Family:
    """Facts about the models whose names match one of ``patterns``.

    Every value is checked when it is made, also by ``attrs.evolve(family, field=...)``, which is how a program changes
    single facts. Backends differ as well (docs/protocol.md 10); what depends on the backend alone is not here.

    Attributes:
        name: the family's name; ``"unknown"`` for the one that refuses nothing.
        patterns: shell patterns (``*``, ``?``, ``[abc]``, ``[!abc]``) of bare model names, case-sensitive.
        text_channel: how a user's text goes out: ``realtimeInput.text`` or ``clientContent``.
        client_content: when ``clientContent`` is taken: at any time, or only as the history that opens a session.
        system_instruction: whether a system instruction is taken.
        history_config: whether ``historyConfig`` has an effect.
        context_update: whether ``contextUpdate`` is taken.
        media_chunks: whether audio is also taken in the deprecated ``realtimeInput.mediaChunks``.
        language_code: whether ``speechConfig.languageCode`` is taken; where not, it is ignored or refused.
        response_modalities: what the model can answer in; anything else is refused. Empty: not known.
        thinking: what ``thinkingConfig`` may hold: a budget of tokens, a level, either, or it may not be sent at all.
        thinking_levels: the levels it takes, upper case. Empty: not known, or no levels at all.
        tools: the kinds of tools it takes, by the snake_case name of their field in ``Tool``
            (``"function_declarations"``); empty for none, None (``"all"`` in TOML) when no limit is known.
        function_behavior_default: what a function is that does not say ``behavior``.
        blocking: whether ``behavior: BLOCKING`` is taken.
        non_blocking: whether ``behavior: NON_BLOCKING`` is taken.
        scheduling: whether ``scheduling`` in a function's response has an effect.
        input_cancels_blocking_calls: whether new input of the user cancels a blocking call that is open.
        proactive_audio: whether the model may stay silent: if asked to, never, or always (then False is an error).
        affective_dialog: whether ``enableAffectiveDialog`` may be sent.
        turn_coverage_default: the ``TurnCoverage`` that holds when none is sent.
        several_parts: whether a server message may hold several parts.
        merges_transcript: whether audio and its transcript share messages.
        unasked_output_transcripts: whether transcripts of the model's speech come without being asked for.
        empty_content_first: whether each response begins with an empty ``serverContent``.
        thought_summary_first: whether each turn begins with a thought summary; on Google AI only.
        code_before_tool_call: whether an ``executableCode`` part that names the call precedes each ``toolCall``.
        unasked_resumption_updates: whether resumption handles come without being asked for.
        resumption: whether resumption handles come at all.
        idle_signal: what says that the model is idle: ``turnComplete``, or ``interactionStatus`` being ``IDLE``.
        speech_to_text_only: whether the model only transcribes. It then sends no ``modelTurn``; ``generationComplete``
            ends a turn, and ``turnComplete`` comes seldom.
        tool_call_id_prefix: what precedes the number in the ids of tool calls on Google AI; on Vertex they are UUIDs.
        first_audio_chunk_bytes: size of the first piece of audio of a response, s16le mono at 24 kHz.
        audio_chunk_bytes: size of the following ones.
        connection_lifetime_s: seconds after which the server closes a connection.
        go_away_s: how many seconds before that ``goAway`` comes.
        context_tokens: size of the context window in tokens.
    """

    name: str
    patterns: tuple[str, ...]
    text_channel: Literal["realtime", "client_content"]
    client_content: Literal["any_time", "initial_history"]
    system_instruction: bool
    history_config: bool
    context_update: bool
    media_chunks: bool
    language_code: bool
    response_modalities: tuple[str, ...]
    thinking: Literal["budget", "level", "any", "none"]
    thinking_levels: tuple[str, ...]
    tools: tuple[str, ...] | None
    function_behavior_default: Literal["BLOCKING", "NON_BLOCKING"]
    blocking: bool
    non_blocking: bool
    scheduling: bool
    input_cancels_blocking_calls: bool
    proactive_audio: Literal["opt_in", "no", "always"]
    affective_dialog: Literal["opt_in", "no"]
    turn_coverage_default: str
    several_parts: bool
    merges_transcript: bool
    unasked_output_transcripts: bool
    empty_content_first: bool
    thought_summary_first: bool
    code_before_tool_call: bool
    unasked_resumption_updates: bool
    resumption: bool
    idle_signal: Literal["turn_complete", "interaction_status"]
    speech_to_text_only: bool
    tool_call_id_prefix: str
    first_audio_chunk_bytes: int
    audio_chunk_bytes: int
    connection_lifetime_s: float
    go_away_s: float
    context_tokens: int

    def __attrs_post_init__(self) -> None:
        """Raises :class:`ConfigError` naming ``families.<name>.<field>`` for a value of the wrong type or range."""
        for field, hint in _hints().items():
            if (problem := _problem(getattr(self, field), hint)) is not None:
                raise self._error(field, problem)
        for field in ("first_audio_chunk_bytes", "audio_chunk_bytes"):
            size = getattr(self, field)
            if size < 2 or size % 2:
                raise self._error(field, f"must be a whole number of 2-byte samples, not {size} bytes")
        if not self.connection_lifetime_s > 0:
            raise self._error("connection_lifetime_s", f"must be above 0 seconds, not {self.connection_lifetime_s:g}")
        if not 0 <= self.go_away_s < math.inf:
            raise self._error("go_away_s", f"must be 0 seconds or more, not {self.go_away_s:g}")
        if self.context_tokens < 1:
            raise self._error("context_tokens", f"must be at least 1 token, not {self.context_tokens}")

    @property
    def is_known(self) -> bool:
        """Whether anything is known: False for the family of unknown models, which refuses nothing."""
        return self.name != UNKNOWN

    def _error(self, field: str, problem: str) -> ConfigError:
        return ConfigError(f"families.{self.name}.{field}", problem)


def family_for(model: str, *, families: Sequence[Family] | None = None) -> Family:
    """Returns the family of a model; the first pattern that matches decides. Never fails.

    Args:
        model: bare (``"gemini-3.8-live"``), with ``models/``, or a full Vertex AI resource name: what follows the last
            slash is matched.
        families: the table to look in, as :func:`load_families` returns it; None for the packaged one.

    Returns:
        The family; for a model that none matches the table's ``unknown``, or the packaged one if it has none.
    """
    table = load_families() if families is None else families
    bare = model.rpartition("/")[2]
    for family in table:
        if any(fnmatchcase(bare, pattern) for pattern in family.patterns):
            return family
    return next(family for family in (*table, *load_families()) if not family.is_known)


def load_families(path: str | os.PathLike[str] | None = None) -> tuple[Family, ...]:
    """Returns the packaged families, corrected and extended by a user's TOML file.

    The file has the form of the packaged one: a table ``[families."NAME"]`` for each family. Under a packaged name only
    the fields that it gives are changed; a new name needs ``patterns``, and what else it leaves out is as for unknown
    models. Families to which the file gives ``patterns`` are matched first, in the file's order, then the others in the
    packaged order; ``unknown`` is always last.

    Args:
        path: the user's file; None for the packaged families alone, which are read once.

    Raises:
        ConfigError: the file cannot be read or is no TOML; or a field, which the error names
            (``families.<name>.<field>``), is not known or its value has the wrong type.
    """
    packaged = _packaged()
    if path is None:
        return tuple(packaged.values())
    first: dict[str, Family] = {}
    then = dict(packaged)
    for name, fields in _tables(_read(path)).items():
        base = packaged.get(name)
        if name == UNKNOWN and "patterns" in fields:
            raise ConfigError("families.unknown.patterns", "must not be given; use a name of its own for known models")
        if base is None and not fields.get("patterns"):
            raise ConfigError(f"families.{name}.patterns", 'is missing; say which models it is about, ["my-model*"]')
        (first if "patterns" in fields else then)[name] = _merged(name, base or packaged[UNKNOWN], fields)
    # A correction stays where the family was, lest it hide a more special one that stands before it.
    return (*first.values(), *(family for name, family in then.items() if name not in first))


@functools.cache
def _packaged() -> dict[str, Family]:
    text = (resources.files("gemlive") / "families.toml").read_text(encoding="utf-8")
    return {
        name: Family(name=name, **{field: _value(field, value) for field, value in fields.items()})
        for name, fields in _tables(tomllib.loads(text)).items()
    }


def _read(path: str | os.PathLike[str]) -> Mapping[str, object]:
    where = os.fspath(path)
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        problem = f"cannot be read from {where}: {error.strerror or type(error).__name__}"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        problem = f"cannot be read from {where}, which is not valid TOML: {error}"
    # Raised out here, so that the error carries no context: what it was caused by is in its text.
    raise ConfigError("families", problem)


def _tables(document: Mapping[str, object]) -> Mapping[str, Mapping[str, Any]]:
    """Returns the families' tables of a TOML document, as far as their shape goes."""
    for key in document:
        if key != "families":
            raise ConfigError(key, 'is not known at the top of a file of families; write [families."NAME"]')
    tables = document.get("families", {})
    if not isinstance(tables, Mapping):
        raise ConfigError("families", f'must be a table [families."NAME"], not {tables!r}')
    for name, fields in tables.items():
        if not isinstance(fields, Mapping):
            raise ConfigError(f"families.{name}", f"must be a table of facts, not {fields!r}")
        for field in fields:
            if field not in _hints() or field == "name":
                # A name with a dot that is not quoted arrives as nested tables; that is the likeliest mistake.
                known = ", ".join(other for other in _hints() if other != "name")
                raise ConfigError(f"families.{name}.{field}", f"is unknown (quote names with dots); known are {known}")
    return tables


def _merged(name: str, base: Family, fields: Mapping[str, Any]) -> Family:
    values = {field: _value(field, value) for field, value in fields.items()}
    return attrs.evolve(base, **{**values, "name": name})


def _value(field: str, value: object) -> Any:
    """Returns what a TOML value stands for; whether it fits is for :class:`Family` to say."""
    if field == "tools" and value == "all":
        return None
    return tuple(value) if isinstance(value, list) else value


@functools.cache
def _hints() -> dict[str, Any]:
    return get_type_hints(Family)


def _problem(value: object, hint: Any) -> str | None:
    """Returns what is wrong with a value for an annotation of :class:`Family`, None if nothing is."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        return _problem(value, next(inner for inner in get_args(hint) if inner is not types.NoneType))
    if origin is Literal:
        allowed = get_args(hint)
        return None if value in allowed else f"must be one of {', '.join(map(repr, allowed))}, not {value!r}"
    if origin is tuple:
        fits = isinstance(value, tuple) and all(isinstance(inner, str) and inner for inner in value)
        return None if fits else f"must be a list of non-empty strings, not {value!r}"
    if hint is float:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        return None if fits else f"must be a number, not {value!r}"
    if hint is int and isinstance(value, bool):
        return f"must be a whole number, not {value!r}"
    if hint is str and value == "":
        return "must not be empty"
    return None if isinstance(value, hint) else f"must be {_WORDS[hint]}, not {value!r}"


_WORDS = {bool: "true or false", int: "a whole number", str: "a string"}

__all__ = ["UNKNOWN", "Family", "family_for", "load_families"]
