"""The HTTP request google-auth refreshes tokens with; blocking, used in a thread only.

google-auth ships one, but at DEBUG it logs the request headers as they are (a bearer token, when one credential is had
through another) and the signed assertion of a service account. This one logs nothing, and has a deadline.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import attrs


@attrs.frozen
class TokenResponse:
    """What google-auth reads of an answer.

    Attributes:
        status: the HTTP status.
        headers: the response headers, looked up in any casing.
        data: the body.
    """

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    data: bytes = attrs.field(repr=False)


class TokenRequest:
    """Performs google-auth's requests on one session, closed at the end of the block."""

    def __init__(self, *, timeout_s: float) -> None:
        import requests

        self._session = requests.Session()
        self._timeout_s = timeout_s

    def __enter__(self) -> TokenRequest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._session.close()

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> TokenResponse:
        """Performs one request, as google-auth's ``Request`` protocol has it.

        Raises:
            google.auth.exceptions.TransportError: no answer came.
        """
        import requests
        from google.auth import exceptions

        transport_error: type[Exception] = exceptions.TransportError
        try:
            response = self._session.request(
                method,
                url,
                data=body,
                headers=headers,
                timeout=self._timeout_s if timeout is None else timeout,
                **options,
            )
        except requests.exceptions.RequestException as exc:
            raise transport_error(f"{type(exc).__name__} while asking {url.partition('?')[0]}") from exc
        return TokenResponse(response.status_code, response.headers, response.content)
