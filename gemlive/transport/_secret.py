"""A credential that cannot be shown by accident.

Whatever prints, copies, serialises or logs values meets a :class:`Secret` and gets ``***``. The one way to the text is
:meth:`Secret.reveal`, and the rule that goes with it is in ``_seclusion``: the frame that holds what it returns must
never be a frame of an exception that leaves the package.
"""

from __future__ import annotations

import hmac
from typing import NoReturn, final

MASK = "***"
# Real credentials are far longer. The "x" that somebody gives to a local server is no secret, and is in every word.
_LONG = 8


@final
class Secret:
    """Holds a credential; shows ``***`` to everything but :meth:`reveal`.

    It has no length, does not join with strings and cannot be pickled; a copy is the same object.
    """

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """Returns the credential. Call it in a frame that no exception leaves, see ``_seclusion``."""
        return self.__text

    def redact(self, text: str) -> str:
        """Returns the text with every occurrence of the credential replaced by ``***``; a short one stays."""
        return text.replace(self.__text, MASK) if len(self.__text) >= _LONG else text

    def redact_bytes(self, data: bytes) -> bytes:
        """Returns the bytes with every occurrence of the credential replaced by ``***``; a short one stays."""
        return data.replace(self.__text.encode(), MASK.encode()) if len(self.__text) >= _LONG else data

    def startswith(self, prefix: str) -> bool:
        """Whether the credential begins with the prefix, which is how its kind is told."""
        return self.__text.startswith(prefix)

    def problem(self) -> str | None:
        """Says what keeps the credential out of an HTTP header line; None when nothing does."""
        if not self.__text:
            return "is empty"
        if not self.__text.isascii():
            return "has characters that are not ASCII; copy it again, it may have picked up a typographic one"
        if not self.__text.isprintable() or " " in self.__text:
            return "has a space, a line break or another control character in it; copy it again"
        return None

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK

    def __format__(self, format_spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__text.encode(), other.__text.encode())

    def __hash__(self) -> int:
        return hash(self.__text)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a credential cannot be pickled; give the other process one of its own")


def wrap(text: object) -> Secret | str | None:
    """Wraps a credential as a caller gave it, without its surrounding white space.

    Errors are values here because this frame holds the credential: None stands for no credential, a ``str`` says what
    is wrong with it and never quotes it.
    """
    if text is None:
        return None
    if isinstance(text, Secret):
        secret = text
    elif isinstance(text, str):
        secret = Secret(text.strip())
    else:
        return f"must be a str, not {type(text).__name__}"
    return secret.problem() or secret
