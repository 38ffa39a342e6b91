"""The deadlines of one connection, each beside the reason for its default."""

from __future__ import annotations

import math

import attrs

from gemlive.errors import ConfigError


def _is_duration(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"timeouts.{attribute.name}", f"must be a number of seconds, not {type(value).__name__}")
    if math.isnan(value) or value <= 0:
        raise ConfigError(
            f"timeouts.{attribute.name}", f"must be more than 0 s, not {value:g}; math.inf switches the deadline off"
        )


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long each step of a connection may take, in seconds; ``math.inf`` switches one off.

    Each deadline bounds one step alone, so the longest time to a connection is their sum. A step that does not end in
    time raises :class:`~gemlive.errors.ConnectTimeout` with its name.

    Attributes:
        dns_s: resolving the host name.
        tcp_s: connecting, over all addresses of the host.
        proxy_s: the CONNECT exchange with an HTTP proxy.
        tls_s: the TLS handshake.
        upgrade_s: the WebSocket upgrade, including the body of a refusal.
        setup_s: from the setup message to ``setupComplete``; used by the session.
        close_s: closing, whatever the peer does. With ``math.inf`` closing waits for the peer until cancelled.
        ping_interval_s: the silence after which the peer is asked for a sign of life.
        pong_s: the further silence after which the connection counts as dead. Any inbound byte is life, so this is
            not the time for a pong; pongs of 8-30 s are normal in the field, which is why it is longer than that.

    Raises:
        ConfigError: a deadline is not a number, not positive, or NaN.
    """

    dns_s: float = attrs.field(default=5.0, validator=_is_duration)
    tcp_s: float = attrs.field(default=10.0, validator=_is_duration)
    proxy_s: float = attrs.field(default=10.0, validator=_is_duration)
    tls_s: float = attrs.field(default=10.0, validator=_is_duration)
    upgrade_s: float = attrs.field(default=10.0, validator=_is_duration)
    setup_s: float = attrs.field(default=15.0, validator=_is_duration)
    close_s: float = attrs.field(default=5.0, validator=_is_duration)
    ping_interval_s: float = attrs.field(default=20.0, validator=_is_duration)
    pong_s: float = attrs.field(default=45.0, validator=_is_duration)
