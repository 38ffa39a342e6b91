"""What two messages must have in common to say the same: casing, base64, numbers as strings and nulls made equal.

Imports nothing of gemlive, and knows by name which keys hold bytes, numbers and durations, so that it makes equal what
may differ and nothing else: a text that looks like a number stays a text.
"""

from __future__ import annotations

import base64
import re
from decimal import Decimal
from typing import Any

BYTES = {"data", "thoughtSignature", "imageData", "voiceSampleAudio", "consentAudio", "sdkBlob"}
INTEGERS = {"lastConsumedClientMessageIndex", "triggerTokens", "targetTokens"}
TRUTH_VALUES = {"resumable"}
DURATIONS = {"timeLeft", "startOffset", "endOffset", "audioOffset", "timeout", "sseReadTimeout", "duration"}
# What programs and models put there is theirs: not a key of it may change.
FREE_FORM = {"args", "response", "parameters", "parametersJsonSchema", "responseJsonSchema", "labels", "partMetadata"}


def camel(key: str) -> str:
    """Returns a key in lowerCamelCase."""
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), key)


def normalised(value: Any) -> Any:
    """Returns a message in the one form that all of its spellings have in common."""
    if isinstance(value, dict):
        return {camel(key): _member(camel(key), member) for key, member in value.items() if member is not None}
    if isinstance(value, list):
        return [normalised(member) for member in value]
    return value


def _member(key: str, value: Any) -> Any:
    if key in FREE_FORM:
        return value
    if isinstance(value, str):
        if key in BYTES:
            return _bytes(value)
        if key in INTEGERS and re.fullmatch(r"-?\d+", value):
            return int(value)
        if key in TRUTH_VALUES and value in ("true", "false"):
            return value == "true"
        if key in DURATIONS and re.fullmatch(r"-?\d+(\.\d+)?s", value):
            return f"{Decimal(value[:-1]).normalize():f}s"
    return normalised(value)


def _bytes(text: str) -> str:
    """Returns base64 in the standard alphabet with padding; what is no base64 as it is."""
    try:
        return base64.b64encode(base64.b64decode(_standard(text), validate=True)).decode()
    except ValueError:
        return text


def _standard(text: str) -> str:
    text = text.replace("-", "+").replace("_", "/")
    return text if "=" in text else text + "=" * (-len(text) % 4)


def decoded(text: str) -> bytes | None:
    """Returns the bytes of base64 in either alphabet, None if it is none."""
    try:
        return base64.b64decode(_standard(text), validate=True)
    except ValueError:
        return None
