"""Frames in and out of one connection; endpoints, credentials, dialling. Knows no JSON.

    endpoint -> credentials -> dns -> tcp -> (proxy) -> tls -> upgrade -> Transport.send / receive / aclose

:func:`open_transport` makes the connection, each step with its own deadline and its own error; what comes out is a
:class:`Transport`. Credentials are unwrapped in one place (``_seclusion``) and written in one (``_upgrade``); no URL,
log record or exception holds one.
"""

from __future__ import annotations

from gemlive.transport._endpoints import Backend, Connect, Endpoint, GoogleAI, VertexAI
from gemlive.transport._environment import endpoint_from_env
from gemlive.transport._interface import CloseInfo, Transport
from gemlive.transport._proxy import Proxy
from gemlive.transport._secret import Secret
from gemlive.transport._timeouts import Timeouts
from gemlive.transport._websocket import MAX_MESSAGE_BYTES, open_transport

__all__ = [
    "MAX_MESSAGE_BYTES",
    "Backend",
    "CloseInfo",
    "Connect",
    "Endpoint",
    "GoogleAI",
    "Proxy",
    "Secret",
    "Timeouts",
    "Transport",
    "VertexAI",
    "endpoint_from_env",
    "open_transport",
]
