"""How the service ends connections: codes and reason texts as they were seen (docs/protocol.md 8)."""

from __future__ import annotations

import attrs

REASON_BYTES = 123
"""What a Close frame has room for; the service cuts its texts there, in the middle of a word if it must."""


def _cut(reason: str) -> str:
    return reason.encode()[:REASON_BYTES].decode(errors="ignore")


@attrs.frozen
class Close:
    """The end of a connection, as a Close frame tells it.

    Attributes:
        code: the close code.
        reason: the text, cut at 123 bytes as the service cuts it.
    """

    code: int
    reason: str = attrs.field(default="", converter=_cut)


NORMAL = Close(1000)
GOING_AWAY = Close(1001)
BAD_KEY = Close(1007, "API key not valid. Please pass a valid API key.")
NO_CREDENTIAL = Close(
    1008,
    "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other "
    "form of API consumer identity to call this API.",
)
INVALID_ARGUMENT = Close(1007, "Request contains an invalid argument.")
EMPTY_ACTIVITY = Close(1007, "Precondition check failed.")
# Seen by several programs in the field, last in July 2026; the first half of the sentence varies.
MANUAL_ACTIVITY_IN_AUTOMATIC_MODE = Close(
    1007, "Explicit activity control is not supported when automatic activity detection is enabled."
)
# Reported of 3.1 by several programs in 2026 (docs/protocol.md 3.7).
MEDIA_CHUNKS_GONE = Close(1007, "realtime_input.media_chunks is deprecated. Use audio, video, or text instead.")
NATIVE_AUDIO_ONLY = Close(1007, "Text output is not supported for native audio output model.")
SESSION_NOT_FOUND = Close(1008, "BidiGenerateContent session not found")
ENTITY_NOT_FOUND = Close(1008, "Requested entity was not found.")
NOT_IMPLEMENTED = Close(1008, "Operation is not implemented, or supported, or enabled.")
LIFETIME_OVER = Close(
    1008,
    "Connection aborted because the client failed to close the connection after receiving a GoAway signal once the "
    "session duration limit was reached.",
)
DEADLINE_EXPIRED = Close(1011, "Deadline expired before operation could complete.")
INTERNAL_ERROR = Close(1011, "Internal error encountered.")


def modalities_not_supported(modalities: tuple[str, ...]) -> Close:
    """Returns the refusal of a combination of response modalities."""
    named = ", ".join(modalities)
    return Close(1007, f"The requested combination of response modalities ({named}) is not supported by the model")


def voice_not_found(name: str) -> Close:
    """Returns the refusal of a voice."""
    return Close(1007, f"No matching speaker voice found for name: {name}")


def unknown_name(name: str, path: str = "") -> Close:
    """Returns the refusal of a field, ``path`` being the snake_case path of what it stands in."""
    where = f" at '{path}'" if path else ""
    return Close(1007, f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.')


def model_not_found(model: str, version: str) -> Close:
    """Returns Google AI's refusal of a model."""
    return Close(
        1008,
        f"{model} is not found for API version {version}, or is not supported for bidiGenerateContent. "
        "Call ModelService.ListModels to see the list of available models and their supported methods.",
    )


def publisher_model_not_found(model: str) -> Close:
    """Returns Vertex AI's refusal of a model."""
    return Close(1008, f"Publisher Model {model} was not found or your project does not have access to it.")
