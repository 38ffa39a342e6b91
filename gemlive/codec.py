"""Frames to messages to events, and back: for clients and for servers. No I/O, no clock, no state.

Reading is lenient and loses nothing; writing is strict. Where the service and its documentation disagree with
themselves (two casings, two base64 alphabets, numbers as strings), both are read and one is written.

Data flow::

    client                                                        server
    Setup, ClientContent, ... --encode-->  frame  --decode_client-->  Setup, ClientContent, ...
    ServerMessage  <--decode--  frame  <--encode_server--  ServerMessage
        |
        +--events--> TurnComplete, ModelAudio, ...

cattrs does the conversion, with one hook factory for each direction. A factory runs once for each wire class and makes
its table of names and hooks; a message then costs look-ups in these tables and no inspection. Names come from
``types.camel`` and the metadata of the fields, and from nowhere else.

Every function here may be called from several threads at once.
"""

from __future__ import annotations

import functools
import math
import operator
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

import attrs
import orjson
import pybase64
from cattrs import Converter

from gemlive.audio import OUTPUT_RATE_HZ, rate_of
from gemlive.errors import CodecError
from gemlive.types import (
    CLIENT_MESSAGES,
    NOWHERE,
    WIRE_FORM,
    WIRE_NAME,
    ClientMessage,
    CodeResult,
    Event,
    ExecutableCode,
    GenerationComplete,
    GoAway,
    Grounding,
    GroundingMetadata,
    InputTranscript,
    InterimInputTranscript,
    Interrupted,
    ModelAudio,
    ModelMedia,
    ModelText,
    ModelThought,
    OutputTranscript,
    Part,
    RawClientMessage,
    ResumptionUpdate,
    ServerContent,
    ServerMessage,
    ServerMessageError,
    SetupComplete,
    Stamp,
    ToolCall,
    ToolCallCancellation,
    Transcription,
    TurnComplete,
    UnknownMessage,
    UrlContext,
    Usage,
    UsageMetadata,
    VoiceActivity,
    Wire,
    WordInfo,
    camel,
)

MAX_MESSAGE_BYTES: Final = 16 * 2**20
"""The largest frame that is read. The service's own frames stay below 1 MiB; this is for images and long histories."""

MAX_DEPTH: Final = 64
"""How deep a message may be nested, itself counted. The protocol needs 9; the rest is for arguments of functions."""

_MAX_PROBLEMS: Final = 32  # what a frame made of a million nulls may cost us in sentences
_MAX_DURATION_S: Final = 315_576_000_000  # 10,000 years, the bound of protobuf's Duration
_INT64: Final = range(-(2**63), 2**63)
_JSON_INT: Final = range(-(2**63), 2**64)  # what orjson writes

W = TypeVar("W", bound=Wire)
_Hook = Callable[[Any, Any], Any]


# --- the public functions --------------------------------------------------------------------------------------------


def decode(frame: str | bytes) -> ServerMessage:
    """Returns the message in a server's frame.

    Takes any casing, either base64 alphabet with or without padding, numbers and truth values as strings, durations
    with any fraction; reads ``null`` as absent, an empty frame as an empty message; keeps unknown enum values, and
    unknown fields in ``extra``. A value of the wrong shape leaves its field None (a list loses that member), stays as
    it came in ``extra`` of its level, and is listed in ``problems``.

    Args:
        frame: UTF-8 JSON; the service sends it in binary frames (docs/protocol.md 1.3).

    Raises:
        CodecError: the frame is not one JSON object, is larger than ``MAX_MESSAGE_BYTES`` or nested deeper than
            ``MAX_DEPTH``. The error quotes nothing of the frame.
    """
    message: ServerMessage
    message, problems = _read(ServerMessage, _parse(frame))
    if not problems:
        return message
    sentences = [f"{path}: {text}" for path, text in problems]
    if len(sentences) > _MAX_PROBLEMS:
        sentences = [*sentences[:_MAX_PROBLEMS], "further problems are not listed"]
    return attrs.evolve(message, problems=tuple(sentences))


def encode(message: ClientMessage) -> str:
    """Returns the text frame of a client's message: lowerCamelCase, standard base64, no nulls.

    Raises:
        ValueError: a value cannot be sent (a NaN, a number beyond 64 bits, an object that is not JSON, nesting deeper
            than ``MAX_DEPTH``, the wrong type for its field). The message names the field.
        TypeError: this is no client message.
    """
    return _dumped(_client_plain(message)).decode()


def decode_client(frame: str | bytes, *, strict: bool = False) -> ClientMessage:
    """Returns the message in a client's frame.

    A client message has exactly one key at its top. Without ``strict`` the reading is as lenient as that of
    :func:`decode`; an object with an unknown key, with no key or with several is kept whole as a
    :class:`RawClientMessage`, since choosing one of several would lose the others.

    Args:
        frame: UTF-8 JSON.
        strict: refuse what the real service refuses, in its words: an unknown field at any level, a value of the
            wrong shape, no key or several. Either casing passes, as there.

    Raises:
        CodecError: as for :func:`decode`; and with ``strict``, with the snake_case path in ``path``.
    """
    raw = _parse(frame)
    if strict:
        return _strict_client(raw)
    keys = [key for key, value in raw.items() if value is not None]
    field = _client_shape().find(keys[0]) if len(keys) == 1 else None
    if field is None:
        return RawClientMessage(raw)
    # What cannot be read stays in `extra` of its level; a body that is no object leaves nothing to put it in.
    message, _ = _read(field.target, raw[keys[0]])
    return RawClientMessage(raw) if message is None else message


def encode_server(message: ServerMessage, *, pretty: bool = False) -> str:
    """Returns the frame of a server's message: lowerCamelCase, standard base64, no nulls; without ``problems``.

    Args:
        message: what to write. ``extra`` wins over the field of the same name, so that what was read with problems
            is written as it came.
        pretty: the form of the real service: two spaces of indent, a newline at the end.

    Raises:
        ValueError: as for :func:`encode`.
        TypeError: this is no server message.
    """
    if not isinstance(message, ServerMessage):
        raise TypeError(f"encode_server takes a ServerMessage, not {type(message).__name__}; encode takes the client's")
    return _dumped(unstructure(message), orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE if pretty else 0).decode()


def structure(cls: type[W], raw: object, *, strict: bool = True) -> W:
    """Returns plain data (dicts, lists, strings, numbers) as a wire class.

    Args:
        cls: a wire class, such as ``Tool``.
        raw: keys in camelCase or snake_case. Bytes may be bytes or base64, and members may be wire classes already.
        strict: raise for unknown keys and values of the wrong shape instead of keeping them in ``extra``.

    Raises:
        CodecError: ``raw`` is not a mapping; or with ``strict``, with the path below ``cls`` in ``path``.
    """
    try:
        plain = _plain(raw, rich=True)
    except _Unwritable as wrong:
        raise CodecError(f"{wrong}.", path=wrong.path) from None
    if strict:
        _refuse_unknown(plain, cls, "")
    value: W
    value, problems = _read(cls, plain)
    if problems and (strict or not isinstance(value, Wire)):
        raise _invalid("", problems)
    return value


def unstructure(value: Wire) -> dict[str, object]:
    """Returns a wire class as plain data, as it goes to the wire.

    Raises:
        ValueError: as for :func:`encode`.
    """
    try:
        plain: dict[str, object] = _converter.unstructure(value)
    except _Unwritable as wrong:
        raise ValueError(str(wrong)) from None
    return plain


# --- parsing and printing JSON ---------------------------------------------------------------------------------------


def _parse(frame: str | bytes) -> dict[str, Any]:
    size = len(frame)
    if isinstance(frame, str) and size * 4 > MAX_MESSAGE_BYTES:
        size = len(frame.encode("utf-8", "surrogatepass"))
    if size > MAX_MESSAGE_BYTES:
        raise CodecError(f"the frame has {size} bytes; the limit is {MAX_MESSAGE_BYTES}")
    failure = ""
    raw: object = None
    try:
        raw = orjson.loads(frame)
    except orjson.JSONDecodeError as error:
        # Told below, outside this block: the error holds the whole frame, and a context would keep it alive.
        failure = f"the frame is not JSON: {error.msg} at position {error.pos} of {size}"
    if failure:
        if not frame.strip():
            return {}  # google-genai reads an empty frame so too (docs/protocol.md 1.3)
        raise CodecError(failure)
    if type(raw) is not dict:
        raise CodecError(f"the frame is {_kind(raw)}, not a JSON object")
    # Counting brackets is cheap, and no message with fewer can be too deep.
    brackets = frame.count("{") + frame.count("[") if isinstance(frame, str) else frame.count(b"{") + frame.count(b"[")
    if brackets > MAX_DEPTH and _too_deep(raw) is not None:
        raise CodecError(f"the frame is nested deeper than {MAX_DEPTH} levels")
    return raw


_Trail = tuple[Any, Any] | None  # the trail of the level above and a key: a path that costs nothing until it is shown


def _too_deep(plain: object) -> _Trail:
    """Returns the way to an object or list that is nested deeper than the limit, None when there is none.

    Iterative, for it must survive any depth; and without building paths, which a hostile frame would make long.
    """
    waiting: list[tuple[_Trail, Any, int]] = [(None, plain, 1)]
    while waiting:
        trail, value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            return trail
        members = value.items() if isinstance(value, dict) else enumerate(value)
        waiting.extend(((trail, key), member, depth + 1) for key, member in members if isinstance(member, dict | list))
    return None


def _path(trail: _Trail) -> str:
    path = ""
    while trail is not None:
        trail, key = trail
        path = _joined(key if isinstance(key, str) else f"[{key}]", path)
    return _shortened(path)


def _shortened(path: str) -> str:
    """Returns a path fit for an error: printable whatever the keys are, and no longer than a reader can bear."""
    path = path.encode(errors="replace").decode()
    return path if len(path) <= 200 else f"{path[:100]}...{path[-60:]}"


def _joined(label: str, path: str) -> str:
    return f"{label}{path}" if not path or path.startswith("[") else f"{label}.{path}"


def _dumped(plain: dict[str, object], option: int = 0) -> bytes:
    try:
        frame = orjson.dumps(plain, option=option)
    except orjson.JSONEncodeError:
        frame = b""
    # Types and numbers were checked on the way here, which leaves depth and text for orjson to object to.
    if not frame or frame.count(b"{") + frame.count(b"[") > MAX_DEPTH:
        trail = _too_deep(plain)
        if trail is not None:
            raise ValueError(f"{_path(trail)}: nested deeper than {MAX_DEPTH} levels; flatten it")
    if not frame:
        raise ValueError(
            f"{_path(_half_a_pair(plain))}: holds half of a surrogate pair, which UTF-8 cannot; replace it"
        )
    return frame


def _half_a_pair(plain: object) -> _Trail:
    """Returns the way to a string, or to an object with a key, that UTF-8 cannot encode."""
    waiting: list[tuple[_Trail, Any]] = [(None, plain)]
    while waiting:
        trail, value = waiting.pop()
        if isinstance(value, dict):
            if not all(map(_is_text, value)):
                return trail
            waiting.extend(((trail, key), member) for key, member in value.items())
        elif isinstance(value, list):
            waiting.extend(((trail, index), member) for index, member in enumerate(value))
        elif isinstance(value, str) and not _is_text(value):
            return trail
    return None


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: object) -> str:
    """Returns what a value is, without saying what it holds."""
    if value is None:
        return "null"
    names = {
        bool: "a truth value",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), type(value).__name__)


# --- the tables ------------------------------------------------------------------------------------------------------


@attrs.frozen
class _Field:
    """What reading and writing need to know of one field of a wire class."""

    name: str  # of the attribute
    key: str  # on the wire
    label: str  # in paths: the key in snake_case, as the service writes it
    target: Any  # the type without None
    form: str | None
    default: object
    nested: type[Any] | None  # the class of the value, or of the members of a list


@attrs.frozen
class _Shape:
    """A wire class as its fields, by every name they answer to."""

    fields: tuple[_Field, ...]
    by_key: Mapping[str, _Field]  # camelCase and snake_case: what the service accepts
    by_fold: Mapping[str, _Field]  # case and underscores aside: what we accept beyond that

    def find(self, key: str) -> _Field | None:
        """Returns the field that a key means, leniently."""
        return self.by_key.get(key) or self.by_fold.get(_fold(key))

    def means(self, key: str, name: str) -> bool:
        """Tells whether a key means the field of this name."""
        field = self.find(key)
        return field is not None and field.name == name


def _fold(key: str) -> str:
    return key.replace("_", "").lower()


def _snake(key: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", key).lower()


def _shape_of(fields: tuple[_Field, ...]) -> _Shape:
    by_key = {field.key: field for field in fields} | {field.label: field for field in fields}
    return _Shape(fields, by_key, {_fold(field.key): field for field in fields})


_shapes: Final[dict[object, _Shape]] = {}  # two threads that fill in the same class put the same thing


def _shape(cls: type[Any]) -> _Shape:
    if cls not in _shapes:
        _shapes[cls] = _inspected(cls)
    return _shapes[cls]


def _inspected(cls: type[Any]) -> _Shape:
    hints = typing.get_type_hints(cls)
    fields = []
    for attribute in attrs.fields(cls):
        key = attribute.metadata.get(WIRE_NAME, camel(attribute.name))
        if attribute.name == "extra" or key is None:
            continue
        target = _without_none(hints[attribute.name])
        member = typing.get_args(target)[0] if typing.get_origin(target) is tuple else target
        fields.append(
            _Field(
                name=attribute.name,
                key=key,
                label=_snake(key),
                target=target,
                form=attribute.metadata.get(WIRE_FORM),
                default=attribute.default,
                nested=member if attrs.has(member) else None,
            )
        )
    return _shape_of(tuple(fields))


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = (member for member in typing.get_args(hint) if member is not type(None))
    return hint


@functools.cache
def _client_shape() -> _Shape:
    return _shape_of(
        tuple(
            _Field(name=name, key=camel(name), label=name, target=cls, form=None, default=None, nested=cls)
            for name, cls in CLIENT_MESSAGES.items()
        )
    )


# --- reading ---------------------------------------------------------------------------------------------------------


class _Flaw(Exception):
    """Something could not be read. Raised only on the way up: what is sound costs nothing and needs no state.

    ``value`` is what could be read, None for nothing. ``keep`` says that the raw value must stay in ``extra`` of the
    level above, since ``value`` does not hold all of it.
    """

    def __init__(self, value: Any, problems: list[tuple[str, str]], *, keep: bool) -> None:
        super().__init__()
        self.value = value
        self.problems = problems
        self.keep = keep

    def below(self, label: str) -> Iterator[tuple[str, str]]:
        """Yields the problems with their paths as seen from the level above."""
        for path, text in self.problems:
            yield _joined(label, path), text


def _flaw(expected: str, value: object) -> _Flaw:
    return _Flaw(None, [("", f"expected {expected}, got {_kind(value)}")], keep=True)


def _read(cls: type[Any], raw: object) -> tuple[Any, list[tuple[str, str]]]:
    """Returns what could be read, None for nothing, and the path and the text of each problem."""
    try:
        return _converter.get_structure_hook(cls)(raw, cls), []
    except _Flaw as flaw:
        return flaw.value, flaw.problems


def _reader_for(cls: type[Any]) -> _Hook:
    """Returns the hook that reads one wire class: the factory that cattrs calls once for each."""
    shape = _shape(cls)
    rows = {field.name: (field.name, field.label, _read_hook(field), field.target) for field in shape.fields}
    table = {key: rows[field.name] for key, field in shape.by_key.items()}
    folded = {key: rows[field.name] for key, field in shape.by_fold.items()}

    def read(raw: Any, _: object) -> Any:
        if type(raw) is not dict:
            raise _flaw("an object", raw)
        values: dict[str, Any] = {}
        extra: dict[str, object] = {}
        problems: list[tuple[str, str]] = []
        for key, value in raw.items():
            if value is None:
                continue
            row = table.get(key) or folded.get(_fold(key))
            if row is None:
                extra[key] = value
                continue
            name, label, hook, target = row
            if name in values:
                # One field in two spellings: the first one counts, and all stay, so that none is lost.
                extra |= {other: raw[other] for other in raw if shape.means(other, name) and raw[other] is not None}
                problems.append((label, "given twice, in two spellings; the first one counts"))
                continue
            try:
                values[name] = hook(value, target)
            except _Flaw as flaw:
                values[name] = flaw.value
                if flaw.keep:
                    extra[key] = value
                problems.extend(flaw.below(label))
        if extra:
            values["extra"] = extra
        if not problems:
            return cls(**values)
        sound = {name: value for name, value in values.items() if value is not None}
        raise _Flaw(cls(**sound), problems[: _MAX_PROBLEMS + 1], keep=False)

    return read


def _list_reader_for(target: Any) -> _Hook:
    member = typing.get_args(target)[0]
    hook = _converter.get_structure_hook(member)

    def read(raw: Any, _: object) -> tuple[Any, ...]:
        if type(raw) is not list:
            raise _flaw("a list", raw)
        values = []
        problems: list[tuple[str, str]] = []
        skipped = False
        for index, value in enumerate(raw):
            try:
                values.append(hook(value, member))
            except _Flaw as flaw:
                if flaw.value is None:
                    skipped = True
                else:
                    values.append(flaw.value)
                if len(problems) <= _MAX_PROBLEMS:
                    problems.extend(flaw.below(f"[{index}]"))
        if problems:
            raise _Flaw(tuple(values), problems, keep=skipped)
        return tuple(values)

    return read


_INTEGER: Final = re.compile(r"-?[0-9]{1,19}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?")
_DURATION: Final = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,9})?s?")
_STANDARD_ALPHABET: Final = str.maketrans("-_", "+/")


def _read_str(raw: Any, _: object) -> str:
    if type(raw) is not str:
        raise _flaw("a string", raw)
    return raw


def _read_bool(raw: Any, _: object) -> bool:
    if type(raw) is bool:
        return raw
    if type(raw) is str and raw.lower() in ("true", "false"):
        return raw.lower() == "true"
    raise _flaw("a truth value", raw)


def _read_int(raw: Any, _: object) -> int:
    if type(raw) is int:
        value = raw
    elif (type(raw) is str and _INTEGER.fullmatch(raw)) or (type(raw) is float and raw.is_integer()):
        value = int(raw)
    else:
        raise _flaw("an integer", raw)
    if value not in _INT64:
        raise _flaw("an integer of 64 bits", raw)
    return value


def _read_float(raw: Any, _: object) -> float:
    if type(raw) is float or type(raw) is int:
        return float(raw)
    if type(raw) is str and _NUMBER.fullmatch(raw) and math.isfinite(float(raw)):
        return float(raw)
    raise _flaw("a number", raw)


def _read_duration(raw: Any, _: object) -> float:
    if type(raw) is float or type(raw) is int:
        value = round(float(raw), 9)  # to what the wire's own form can say, and so what is written can be read again
    elif type(raw) is str and _DURATION.fullmatch(raw):
        value = float(raw.removesuffix("s"))
    else:
        raise _flaw('a duration such as "2.200s"', raw)
    if abs(value) > _MAX_DURATION_S:
        raise _flaw(f"a duration of at most {_MAX_DURATION_S} s", raw)
    return value


def _read_bytes(raw: Any, _: object) -> bytes:
    if type(raw) is not str:
        raise _flaw("base64", raw)
    try:
        # `validate` refuses what is no base64 instead of skipping it, which would be silent loss of audio.
        return pybase64.b64decode(raw, validate=True)
    except ValueError:
        padding = "" if "=" in raw else "=" * (-len(raw) % 4)
    try:
        return pybase64.b64decode(raw.translate(_STANDARD_ALPHABET) + padding, validate=True)
    except ValueError:
        raise _Flaw(None, [("", "expected base64, got a string that is none")], keep=True) from None


def _read_mapping(raw: Any, _: object) -> dict[str, object]:
    if type(raw) is not dict:
        raise _flaw("an object", raw)
    return raw


def _read_texts(raw: Any, _: object) -> dict[str, str]:
    if type(raw) is not dict or not all(type(value) is str for value in raw.values()):
        raise _flaw("an object of strings", raw)
    return raw


def _read_anything(raw: Any, _: object) -> object:
    return raw


def _read_hook(field: _Field) -> _Hook:
    return _read_duration if field.form == "duration" else _converter.get_structure_hook(field.target)


# --- strict reading --------------------------------------------------------------------------------------------------


def _strict_client(raw: dict[str, Any]) -> ClientMessage:
    _refuse_unknown_keys(raw, _client_shape(), "")
    keys = [key for key, value in raw.items() if value is not None]
    if len(keys) != 1:
        found = " and ".join(keys) or "none"
        raise CodecError(f"Request contains an invalid argument. A client message has exactly one key, not {found}.")
    field = _client_shape().by_key[keys[0]]
    message: ClientMessage
    message, problems = _read(field.target, raw[keys[0]])
    if problems:
        raise _invalid(field.label, problems)
    return message


def _refuse_unknown(plain: object, cls: type[Any], path: str) -> None:
    if isinstance(plain, dict):
        _refuse_unknown_keys(plain, _shape(cls), path)


def _refuse_unknown_keys(plain: dict[str, Any], shape: _Shape, path: str) -> None:
    """Raises for the first unknown key in the order of the frame, in the words of the real service."""
    for key, value in plain.items():
        field = shape.by_key.get(key)
        if field is None:
            name = key[:80]  # a close reason holds 123 bytes
            where = f" at '{path}'" if path else ""
            raise CodecError(
                f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.',
                path=f"{path}.{_snake(name)}" if path else _snake(name),
            )
        if field.nested is not None:
            below = f"{path}.{field.label}" if path else field.label
            _refuse_unknown(value, field.nested, below)
            for index, member in enumerate(value) if isinstance(value, list) else ():
                _refuse_unknown(member, field.nested, f"{below}[{index}]")


def _invalid(label: str, problems: list[tuple[str, str]]) -> CodecError:
    path, text = problems[0]
    path = _joined(label, path) if label else path
    where = f" at '{path}'" if path else ""
    return CodecError(f"Invalid value{where}: {text}.", path=path)


# --- writing ---------------------------------------------------------------------------------------------------------


class _Unwritable(Exception):
    """A value that the wire cannot carry, with the path to it as far as it is known."""

    def __init__(self, path: str, text: str) -> None:
        super().__init__(path, text)
        self.path = path
        self.text = text

    def __str__(self) -> str:
        return f"{_shortened(self.path)}: {self.text}"

    def below(self, label: str) -> _Unwritable:
        """Returns the same with its path as seen from the level above."""
        return _Unwritable(_joined(label, self.path), self.text)


def _unwritable(expected: str, value: object) -> _Unwritable:
    return _Unwritable("", f"must be {expected}, not {type(value).__name__}")


def _client_plain(message: ClientMessage) -> dict[str, object]:
    if isinstance(message, RawClientMessage):
        return _plain_raw(message.raw)
    for field in _client_shape().fields:
        if field.target is type(message):
            try:
                return {field.key: _converter.unstructure(message)}
            except _Unwritable as wrong:
                raise ValueError(str(wrong.below(field.label))) from None
    raise TypeError(f"encode takes a client's message, not {type(message).__name__}; encode_server takes the server's")


def _writer_for(cls: type[Any]) -> Callable[[Any], Any]:
    """Returns the hook that writes one wire class: the factory that cattrs calls once for each."""
    shape = _shape(cls)
    rows = tuple((field.name, field.key, field.label, _write_hook(field), field.default) for field in shape.fields)

    def write(message: Any) -> dict[str, object]:
        if type(message) is not cls:
            raise _unwritable(f"a {cls.__name__}", message)
        plain: dict[str, object] = {}
        for name, key, label, hook, default in rows:
            value = getattr(message, name)
            if value is None or value is default:
                continue
            try:
                plain[key] = hook(value)
            except _Unwritable as wrong:
                raise wrong.below(label) from None
        if message.extra:
            _add_extra(plain, _plain(message.extra), shape)
        return plain

    return write


def _add_extra(plain: dict[str, object], extra: Any, shape: _Shape) -> None:
    """Adds what a level knows beyond its fields; such a key wins over the field it names, in whatever spelling."""
    for key in extra:
        field = shape.find(key)
        if field is not None:
            plain.pop(field.key, None)
    plain.update((key, value) for key, value in extra.items() if value is not None)


def _list_writer_for(target: Any) -> Callable[[Any], Any]:
    hook = _converter.get_unstructure_hook(typing.get_args(target)[0])

    def write(values: Any) -> list[object]:
        if not isinstance(values, tuple | list):
            raise _unwritable("a tuple", values)
        plain = []
        for index, value in enumerate(values):
            try:
                plain.append(hook(value))
            except _Unwritable as wrong:
                raise wrong.below(f"[{index}]") from None
        return plain

    return write


def _write_str(value: Any) -> str:
    if not isinstance(value, str):
        raise _unwritable("a string", value)
    return str(value)  # of an enum's member, its value


def _write_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _unwritable("True or False", value)
    return value


def _write_int(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _unwritable("an int", value)
    if value not in _INT64:
        raise _Unwritable("", "must fit into 64 bits")
    return int(value)


def _write_int64_as_text(value: Any) -> str:
    return str(_write_int(value))


def _write_float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _unwritable("a number", value)
    if not math.isfinite(value):
        raise _Unwritable("", f"must be finite, not {value}")
    return _write_int(value) if isinstance(value, int) else float(value)


def _write_duration(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _unwritable("a number of seconds", value)
    if not abs(value) <= _MAX_DURATION_S:  # not a NaN either
        raise _Unwritable("", f"must be at most {_MAX_DURATION_S} seconds, not {value}")
    whole, fraction = f"{value:.9f}".split(".")
    while fraction.endswith("000"):
        fraction = fraction[:-3]
    if not fraction:
        return "0s" if whole == "-0" else f"{whole}s"
    return f"{whole}.{fraction}s"


def _write_bytes(value: Any) -> str:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise _unwritable("bytes", value)
    return pybase64.b64encode_as_string(value)


def _write_mapping(value: Any) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise _unwritable("a mapping", value)
    plain: dict[str, object] = _plain(value)
    return plain


def _write_texts(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise _unwritable("a mapping", value)
    for key, text in value.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise _Unwritable("", "must map strings to strings")
    return {str(key): str(text) for key, text in value.items()}


def _write_hook(field: _Field) -> Callable[[Any], Any]:
    if field.form == "duration":
        return _write_duration
    if field.form == "int64_as_text":
        return _write_int64_as_text
    hook: Callable[[Any], Any] = _converter.get_unstructure_hook(field.target)
    return hook


def _plain_raw(raw: Mapping[str, object]) -> dict[str, object]:
    try:
        return _write_mapping(raw)
    except _Unwritable as wrong:
        raise ValueError(str(wrong)) from None


def _plain(value: Any, depth: int = 1, *, rich: bool = False) -> Any:
    """Returns a copy of free-form data in the types of JSON and no others, or raises naming what is not.

    Checked here and not left to orjson, which writes a NaN as null and knows no mappings but dict. ``rich`` data may
    also hold bytes and wire classes.
    """
    if value is None or type(value) in (bool, str):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        if value not in _JSON_INT:
            raise _Unwritable("", "must fit into 64 bits")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _Unwritable("", f"must be finite, not {value}")
        return float(value)
    if rich and isinstance(value, bytes | Wire):
        return _write_bytes(value) if isinstance(value, bytes) else _converter.unstructure(value)
    if not isinstance(value, Mapping | list | tuple):
        raise _unwritable("JSON (a dict, list, string, number, truth value or None)", value)
    if depth > MAX_DEPTH:  # also the end of what contains itself
        raise _Unwritable("", f"is nested deeper than {MAX_DEPTH} levels")
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    plain = []
    for key, member in items:
        label = f"[{key}]" if not isinstance(value, Mapping) else key
        if not isinstance(label, str):
            raise _Unwritable("", f"has a key that is no string but {type(key).__name__}")
        try:
            plain.append((label, _plain(member, depth + 1, rich=rich)))
        except _Unwritable as wrong:
            raise wrong.below(label) from None
    return dict(plain) if isinstance(value, Mapping) else [member for _, member in plain]


# --- events ----------------------------------------------------------------------------------------------------------


def events(message: ServerMessage, at: Stamp = NOWHERE) -> tuple[Event, ...]:
    """Returns what a message tells a consumer, in order.

    The order is: setup, transcripts (input, interim, output), the model's parts in their order, tool calls and
    cancellations, ``GenerationComplete``, ``Interrupted``, ``TurnComplete``, voice activity, resumption update,
    go-away, usage, grounding, pages read, what is unknown; and one ``ServerMessageError`` if the message had problems.

    What carries nothing gives no event: an empty text or transcription, an empty ``groundingMetadata``,
    ``serverContent: {}``. A status that rides on no ``turnComplete``, and an error inside the stream, come as
    ``UnknownMessage``, for they have no event of their own and must not be lost. Kinds of parts that have none (a call
    of one of the server's own tools) stay in the message.

    Args:
        message: what :func:`decode` returned.
        at: the stamp that every event gets.
    """
    found: list[Event] = []
    content = message.server_content
    if message.setup_complete is not None:
        found.append(SetupComplete(message.setup_complete.session_id, at=at))
    if content is not None:
        found.extend(_transcripts(content, at))
        if content.model_turn is not None:
            for part in content.model_turn.parts or ():
                found.extend(_of_part(part, at))
    found.extend(_tool_events(message, at))
    if content is not None:
        found.extend(_marks(message, content, at))
    found.extend(_rest(message, at))
    unknown = _unknown(message)
    if unknown:
        found.append(UnknownMessage(unknown, at=at))
    if message.problems:
        found.append(ServerMessageError(message.problems, at=at))
    return tuple(found)


def _transcripts(content: ServerContent, at: Stamp) -> Iterator[Event]:
    heard, guessed, spoken = (
        content.input_transcription,
        content.interim_input_transcription,
        content.output_transcription,
    )
    if heard is not None and _tells(heard):
        yield InputTranscript(*_told(heard), at=at)
    if guessed is not None and _tells(guessed):
        text, _, language_code, _, _, start_offset_s, end_offset_s = _told(guessed)
        yield InterimInputTranscript(text, language_code, start_offset_s, end_offset_s, at=at)
    if spoken is not None and _tells(spoken):
        yield OutputTranscript(*_told(spoken), at=at)


def _told(
    said: Transcription,
) -> tuple[str, bool | None, str | None, str | None, tuple[WordInfo, ...], float | None, float | None]:
    return (
        said.text or "",
        said.finished,
        said.language_code,
        said.speaker_label,
        said.words or (),
        said.start_offset_s,
        said.end_offset_s,
    )


def _tells(said: Transcription) -> bool:
    text, finished, language_code, speaker_label, words, start_offset_s, end_offset_s = _told(said)
    anything = text or finished or language_code or speaker_label or words
    return bool(anything) or start_offset_s is not None or end_offset_s is not None


def _of_part(part: Part, at: Stamp) -> Iterator[Event]:
    if part.text:
        yield ModelThought(part.text, at=at) if part.thought else ModelText(part.text, at=at)
    if part.inline_data is not None and part.inline_data.data:
        mime_type = part.inline_data.mime_type or ""
        rate_hz = _pcm_rate(mime_type)
        if rate_hz is None:
            yield ModelMedia(part.inline_data.data, mime_type, at=at)
        else:
            yield ModelAudio(part.inline_data.data, mime_type, rate_hz, at=at)
    if part.file_data is not None and part.file_data.file_uri:
        yield ModelMedia(b"", part.file_data.mime_type or "", part.file_data.file_uri, at=at)
    if part.executable_code is not None and part.executable_code.code:
        yield ExecutableCode(part.executable_code.code, part.executable_code.language, at=at)
    result = part.code_execution_result
    if result is not None and (result.outcome or result.output):
        yield CodeResult(result.outcome, result.output or "", at=at)


@functools.lru_cache(maxsize=64)
def _pcm_rate(mime_type: str) -> int | None:
    """Returns the rate of PCM audio, None for anything else. Vertex AI names no rate and means 24 kHz."""
    if mime_type.partition(";")[0].strip().lower() != "audio/pcm":
        return None
    return rate_of(mime_type, default=OUTPUT_RATE_HZ)


def _tool_events(message: ServerMessage, at: Stamp) -> Iterator[Event]:
    if message.tool_call is not None and message.tool_call.function_calls:
        yield ToolCall(message.tool_call.function_calls, at=at)
    cancelled = message.tool_call_cancellation
    if cancelled is not None and (cancelled.ids or cancelled.function_ids):
        yield ToolCallCancellation(cancelled.ids or cancelled.function_ids or (), at=at)


def _marks(message: ServerMessage, content: ServerContent, at: Stamp) -> Iterator[Event]:
    if content.generation_complete:
        yield GenerationComplete(at=at)
    if content.interrupted:
        yield Interrupted(at=at)
    if content.turn_complete:
        status = content.interaction_status or message.interaction_status
        yield TurnComplete(content.turn_complete_reason, status, content.waiting_for_input, at=at)


def _rest(message: ServerMessage, at: Stamp) -> Iterator[Event]:
    content = message.server_content or _NO_CONTENT
    for activity in (message.voice_activity, content.voice_activity):
        if activity is not None and (activity.type or activity.audio_offset_s is not None):
            yield VoiceActivity(activity.type or "", activity.audio_offset_s, at=at)
    signal = message.voice_activity_detection_signal
    if signal is not None and signal.vad_signal_type:
        yield VoiceActivity(signal.vad_signal_type, at=at)
    update = message.session_resumption_update
    if update is not None:  # an empty one tells that the session cannot be resumed now
        handle, index = update.new_handle or None, update.last_consumed_client_message_index
        yield ResumptionUpdate(handle, update.resumable, index, at=at)
    if message.go_away is not None:
        yield GoAway(message.go_away.time_left_s, at=at)
    if message.usage_metadata is not None and message.usage_metadata != _NO_USAGE:
        yield Usage(message.usage_metadata, at=at)
    if content.grounding_metadata is not None and content.grounding_metadata != _NO_GROUNDING:
        yield Grounding(content.grounding_metadata, at=at)
    if content.url_context_metadata is not None and content.url_context_metadata.url_metadata:
        yield UrlContext(content.url_context_metadata, at=at)


_NO_CONTENT: Final = ServerContent()
_NO_USAGE: Final = UsageMetadata()
_NO_GROUNDING: Final = GroundingMetadata()


def _unknown(message: ServerMessage) -> dict[str, object]:
    """Returns the keys of a message that no event tells of, as they came.

    Known keys whose value was unreadable are not among them: they are in ``problems``.
    """
    shape = _shape(ServerMessage)
    unknown = {key: value for key, value in message.extra.items() if shape.find(key) is None}
    if message.error is not None:
        unknown[camel("error")] = unstructure(message.error)
    content = message.server_content or _NO_CONTENT
    top, inside = ["code", "message", "status"], []
    if not content.turn_complete:
        top.append("interaction_status")
        inside = ["turn_complete_reason", "waiting_for_input", "interaction_status"]
    unknown |= _set_members(message, top)
    if lonely := _set_members(content, inside):
        unknown[camel("server_content")] = lonely
    return unknown


def _set_members(value: Wire, names: list[str]) -> dict[str, object]:
    return {camel(name): getattr(value, name) for name in names if getattr(value, name)}


# --- the converter ---------------------------------------------------------------------------------------------------


def _is_list(target: object) -> bool:
    return typing.get_origin(target) is tuple


def _make_converter() -> Converter:
    """Returns the one converter, with every hook of ours and none of cattrs' own JSON choices (bytes as base85)."""
    converter = Converter(detailed_validation=False)
    leaves: list[tuple[type[Any], _Hook, Callable[[Any], Any]]] = [
        (str, _read_str, _write_str),
        (bool, _read_bool, _write_bool),
        (int, _read_int, _write_int),
        (float, _read_float, _write_float),
        (bytes, _read_bytes, _write_bytes),
    ]
    for leaf, read, write in leaves:
        converter.register_structure_hook(leaf, read)
        converter.register_unstructure_hook(leaf, write)
    # By comparison, since these are no classes, or (object) the class of everything.
    free_form: list[tuple[Any, _Hook, Callable[[Any], Any]]] = [
        (Mapping[str, object], _read_mapping, _write_mapping),
        (Mapping[str, str], _read_texts, _write_texts),
        (object, _read_anything, _plain),
    ]
    for form, read, write in free_form:
        converter.register_structure_hook_func(functools.partial(operator.eq, form), read)
        converter.register_unstructure_hook_func(functools.partial(operator.eq, form), write)
    converter.register_structure_hook_factory(_is_list, _list_reader_for)
    converter.register_unstructure_hook_factory(_is_list, _list_writer_for)
    converter.register_structure_hook_factory(attrs.has, _reader_for)
    converter.register_unstructure_hook_factory(attrs.has, _writer_for)
    return converter


_converter: Final = _make_converter()

__all__ = [
    "MAX_DEPTH",
    "MAX_MESSAGE_BYTES",
    "decode",
    "decode_client",
    "encode",
    "encode_server",
    "events",
    "structure",
    "unstructure",
]
