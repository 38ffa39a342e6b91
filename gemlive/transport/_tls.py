"""The TLS handshake, and in words what is wrong when it fails.

It is made explicitly and at once: left to the first read, a certificate that does not fit would look like a server that
does not answer.
"""

from __future__ import annotations

import ssl

import trio

from gemlive.errors import ConnectError, TlsError
from gemlive.transport._seclusion import tls_reason

_MODERN_TLS = frozenset({"TLSv1.2", "TLSv1.3"})

# OpenSSL's names for bytes that are no TLS record; which one it is depends on its version and on the bytes.
_NOT_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
)

_UNKNOWN_AUTHORITY = (
    "no authority known here signed it (a proxy that opens TLS, perhaps); "
    "load its authority with ssl_context.load_verify_locations"
)
_WRONG_HOST = "it is for another host; connect to a name that stands in it"

# X509_V_ERR_* of OpenSSL's x509_vfy.h.
_CERTIFICATE_PROBLEMS = {
    2: _UNKNOWN_AUTHORITY,
    9: "it is not valid yet; check the clock of this machine",
    10: "it has expired; the server needs a new one, or check the clock of this machine",
    18: "it is self-signed; load it with ssl_context.load_verify_locations if it is yours",
    19: _UNKNOWN_AUTHORITY,
    20: _UNKNOWN_AUTHORITY,
    21: _UNKNOWN_AUTHORITY,
    62: _WRONG_HOST,
    64: _WRONG_HOST,
}


async def encrypt(
    stream: trio.abc.Stream, host: str, context: ssl.SSLContext
) -> trio.SSLStream[trio.abc.Stream] | ConnectError:
    """Returns the stream with TLS on it, or why the handshake failed.

    Args:
        stream: the connected stream.
        host: the host name or address that the certificate has to be for.
        context: which authorities are trusted.
    """
    # https_compatible: an end without close_notify is the peer's habit and no attack, for WebSocket frames say where
    # a message ends.
    secure = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
    try:
        await secure.do_handshake()
    except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
        return _tls_error(exc, host)
    version = secure.version()
    if version not in _MODERN_TLS:
        return TlsError(f"{host} speaks {version} at best; TLS 1.2 is the least that is accepted")
    return secure


def _tls_error(error: trio.BrokenResourceError | trio.ClosedResourceError, host: str) -> ConnectError:
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return TlsError(f"the certificate of {host} is not accepted: {_certificate_problem(cause)}")
    if not isinstance(cause, ssl.SSLError) or isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return ConnectError(
            f"{host} ended the connection during the TLS handshake; does it speak TLS 1.2 or later on this port?",
            step="tls",
        )
    if tls_reason(cause) in _NOT_TLS:
        return TlsError(
            f"{host} answered with something that is not TLS; check the port, or write ws:// if it is a server on this "
            "machine without TLS"
        )
    return TlsError(f"the TLS handshake with {host} failed: {tls_reason(cause) or 'no reason given'}")


def _certificate_problem(error: ssl.SSLCertVerificationError) -> str:
    """Says what is wrong with a certificate and what to do, from OpenSSL's code for it."""
    return _CERTIFICATE_PROBLEMS.get(error.verify_code, error.verify_message)
