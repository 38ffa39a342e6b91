"""What the end of a connection means: one table from a server's close reason and code to what to do about it.

Text first, code second, since the same code stands for fatal and for passing causes (docs/protocol.md 8). Reasons are
human text that the service changes without notice and cuts at 123 bytes, so each row looks for a fragment, in lower
case, that carries the meaning.
"""

from __future__ import annotations

import enum

import attrs


class Remedy(enum.Enum):
    """What to do after a connection ended."""

    FATAL = "the same again would fail again"
    RESUME = "dial again with the resumption handle"
    FRESH = "the handle is useless; dial again without it"
    WAIT = "dial again after waiting for quota"
    NEW_TOKEN = "the credential ran out; dial again with a new one"  # noqa: S105 - prose, not a password


@attrs.frozen
class CloseMeaning:
    """One row of the table.

    Attributes:
        remedy: what to do.
        causes: what may have happened and what the person who runs the program can do, the most probable first, each
            one sentence.
    """

    remedy: Remedy
    causes: tuple[str, ...]

    @property
    def cause(self) -> str:
        """The most probable cause."""
        return self.causes[0]


_BY_TEXT: tuple[tuple[str, CloseMeaning], ...] = tuple(
    (fragment, CloseMeaning(remedy, tuple(causes)))
    for fragment, remedy, *causes in (
        ("api key not valid", Remedy.FATAL, "The API key is not valid; check the key that the endpoint was given."),
        ("api key expired", Remedy.FATAL, "The API key has expired; renew it."),
        ("unregistered callers", Remedy.FATAL, "No credential arrived; give the endpoint an API key or a token."),
        ("unknown name", Remedy.FATAL, "The server does not know a field that was sent; remove it from the setup."),
        ("invalid session handle", Remedy.FRESH, "The resumption handle is not valid any more."),
        ("session not found", Remedy.FRESH, "The server does not have the session of this resumption handle any more."),
        (
            "requested entity was not found",
            Remedy.FRESH,
            "The resumption handle is not valid any more.",
            "A tool's answer named a call that the server does not know.",
        ),
        ("token has been used too many times", Remedy.NEW_TOKEN, "The ephemeral token is used up; mint a new one."),
        ("token has expired", Remedy.NEW_TOKEN, "The token has expired; mint a new one."),
        ("user location is not supported", Remedy.FATAL, "The API is not offered at the caller's location."),
        ("is not found for api version", Remedy.FATAL, "The model does not exist, or not in this API version."),
        ("publisher model", Remedy.FATAL, "The model is not available in this Vertex AI location."),
        ("has been denied access", Remedy.FATAL, "The project has been denied access to the API."),
        ("prepayment credits are depleted", Remedy.FATAL, "The account's credits are used up; add credits."),
        ("exceeded your current quota", Remedy.WAIT, "The quota is used up; wait or ask for more."),
        ("resource has been exhausted", Remedy.WAIT, "The quota is used up; wait or ask for more."),
        ("text output is not supported", Remedy.FATAL, "The model only speaks; use response_modalities='AUDIO'."),
        ("combination of response modalities", Remedy.FATAL, "The model does not support these response modalities."),
        ("no matching speaker voice", Remedy.FATAL, "The voice does not exist; choose one of the prebuilt voices."),
        (
            "is not supported in the live api",
            Remedy.FATAL,
            "The setup uses something that the Live API does not offer.",
        ),
        (
            "is not implemented, or supported",
            Remedy.FATAL,
            "The model or the backend does not offer a feature in use; take tools and unusual settings out one by one.",
            "Some preview models answer so to tool calls; try another model.",
        ),
        (
            "contains an invalid argument",
            Remedy.FATAL,
            "A value in the setup or in a message is wrong; compare what was sent last with docs/protocol.md 3.",
            "The context window is exhausted; set SessionConfig(compression=True).",
            "The model does not take client content at this point; use send_text.",
        ),
        (
            "precondition check failed",
            Remedy.FATAL,
            "An activity was empty; send audio between activity_start and activity_end.",
            "An activity's marks came out of order.",
        ),
        ("failed to close the connection after receiving a goaway", Remedy.RESUME, "The connection's lifetime ended."),
        (
            "the operation was aborted",
            Remedy.RESUME,
            "The connection's lifetime ended.",
            "The connection was idle for too long.",
        ),
        ("deadline expired", Remedy.RESUME, "The backend stalled.", "The connection's lifetime ended."),
        ("currently unavailable", Remedy.RESUME, "The service is overloaded."),
        ("internal error", Remedy.RESUME, "The service failed internally."),
        ("thread was cancelled", Remedy.RESUME, "The service failed internally."),
        ("failed to run inference", Remedy.RESUME, "The service failed internally."),
    )
)
# The order counts: a reason is matched against the rows from the top, and the special rows stand before general ones.

_BY_CODE: dict[int, CloseMeaning] = {
    1000: CloseMeaning(Remedy.RESUME, ("The server ended the connection normally, in the middle of something.",)),
    1001: CloseMeaning(Remedy.RESUME, ("The server goes away.",)),
    1002: CloseMeaning(Remedy.RESUME, ("One side broke the WebSocket protocol.",)),
    1005: CloseMeaning(Remedy.RESUME, ("The server ended the connection without saying why.",)),
    1006: CloseMeaning(Remedy.RESUME, ("The network was lost.",)),
    1007: CloseMeaning(
        Remedy.FATAL,
        (
            "The server refused something that was sent; look at what was sent last.",
            "The context window is exhausted; set SessionConfig(compression=True).",
        ),
    ),
    1008: CloseMeaning(
        Remedy.FATAL,
        (
            "The server refused the session; check credential, model and location.",
            "The account or project may not use the model.",
        ),
    ),
    1009: CloseMeaning(Remedy.FATAL, ("A message was larger than the other side takes.",)),
    1011: CloseMeaning(Remedy.RESUME, ("The service failed internally.",)),
    1012: CloseMeaning(Remedy.RESUME, ("The service restarts.",)),
    1013: CloseMeaning(Remedy.RESUME, ("The service asks to try again later.",)),
}
_OTHER = CloseMeaning(Remedy.RESUME, ("The server ended the connection with a code of its own.",))


def meaning_of(code: int, reason: str) -> CloseMeaning:
    """Returns what the end of a connection means.

    Args:
        code: the WebSocket close code, 1006 when the network was lost.
        reason: the close reason as the server wrote it, possibly empty or cut.
    """
    text = reason.lower()
    for fragment, meaning in _BY_TEXT:
        if fragment in text:
            return meaning
    return _BY_CODE.get(code, _OTHER)


def names_handle(reason: str) -> bool:
    """Says whether the reason blames the resumption handle by name."""
    return meaning_of(0, reason).remedy is Remedy.FRESH
