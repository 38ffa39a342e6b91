"""TLS over real sockets: each way in which the handshake fails is told at once, in words, and never as a timeout."""

from __future__ import annotations

import datetime
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trio_websocket
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gemlive.errors import ConfigError, ConnectError, TlsError
from gemlive.transport import GoogleAI, Timeouts, open_transport
from gemlive.transport._dial import dial
from tests.transport.peers import CANARY, echo, websocket

pytestmark = pytest.mark.socket

# A server that makes us wait for a deadline fails the test by the type of the error, not by the time it takes.
PATIENT = Timeouts(tls_s=30)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def showing(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@asynccontextmanager
async def listening(handler: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def serving_tls(context: ssl.SSLContext) -> AsyncIterator[int]:
    async def handler(stream: trio.SocketStream) -> None:
        secure = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        try:
            await secure.do_handshake()
            await websocket(echo)(secure)
        except trio.BrokenResourceError:
            pass

    async with listening(handler) as port:
        yield port


async def failure(port: int, context: ssl.SSLContext, host: str = "localhost") -> ConnectError:
    endpoint = GoogleAI(CANARY, base_url=f"wss://{host}:{port}", ssl_context=context)
    with pytest.raises(ConnectError) as caught:
        async with open_transport(endpoint, timeouts=PATIENT):
            pytest.fail("connected")
    assert caught.value.step == "tls"
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_server_with_a_certificate_for_its_name_is_reached(authority: trustme.CA, host: str) -> None:
    async with serving_tls(showing(authority.issue_cert("localhost", "127.0.0.1"))) as port:
        endpoint = GoogleAI(CANARY, base_url=f"https://{host}:{port}", ssl_context=trusting(authority))
        async with open_transport(endpoint) as transport:
            await transport.send(["over TLS"])
            assert list(await transport.receive()) == ["over TLS"]


async def test_an_unknown_authority_is_told(authority: trustme.CA) -> None:
    async with serving_tls(showing(trustme.CA().issue_cert("localhost"))) as port:
        error = await failure(port, trusting(authority))
    assert isinstance(error, TlsError)
    assert "no authority known here signed it" in str(error)
    assert not error.retryable


async def test_a_self_signed_certificate_is_told(authority: trustme.CA, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "self.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    async with serving_tls(context) as port:
        error = await failure(port, trusting(authority))
    assert isinstance(error, TlsError)
    assert "it is self-signed" in str(error)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_certificate_for_another_host_is_told(authority: trustme.CA, host: str) -> None:
    async with serving_tls(showing(authority.issue_cert("other.example"))) as port:
        error = await failure(port, trusting(authority), host)
    assert isinstance(error, TlsError)
    assert "it is for another host" in str(error)


@pytest.mark.parametrize(
    ("start", "end", "words"), [(2019, 2020, "it has expired"), (2090, 2100, "it is not valid yet")]
)
async def test_a_certificate_out_of_its_time_is_told(authority: trustme.CA, start: int, end: int, words: str) -> None:
    certificate = authority.issue_cert(
        "localhost",
        not_before=datetime.datetime(start, 1, 1, tzinfo=datetime.UTC),
        not_after=datetime.datetime(end, 1, 1, tzinfo=datetime.UTC),
    )
    async with serving_tls(showing(certificate)) as port:
        error = await failure(port, trusting(authority))
    assert isinstance(error, TlsError)
    assert words in str(error)


async def test_a_server_that_speaks_plain_http_is_told(authority: trustme.CA) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    async with listening(handler) as port:
        error = await failure(port, trusting(authority))
    assert isinstance(error, TlsError)
    assert "something that is not TLS" in str(error)


async def test_a_plain_websocket_server_on_the_port_is_told(authority: trustme.CA) -> None:
    async with trio.open_nursery() as nursery:

        async def handler(request: trio_websocket.WebSocketRequest) -> None:
            await echo(await request.accept())

        server = await nursery.start(trio_websocket.serve_websocket, handler, "127.0.0.1", 0, None)
        error = await failure(server.port, trusting(authority))
        nursery.cancel_scope.cancel()
    assert "TLS" in str(error)


async def test_a_server_that_hangs_up_is_told_and_may_be_tried_again(authority: trustme.CA) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.aclose()

    async with listening(handler) as port:
        error = await failure(port, trusting(authority))
    assert not isinstance(error, TlsError)
    assert "ended the connection during the TLS handshake" in str(error)
    assert error.retryable


async def test_tls_1_1_is_refused_before_the_credential_is_written(authority: trustme.CA) -> None:
    def old(context: ssl.SSLContext) -> ssl.SSLContext:
        context.set_ciphers("ALL:@SECLEVEL=0")
        return context

    server = old(showing(authority.issue_cert("localhost")))
    client = old(trusting(authority))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client.minimum_version = ssl.TLSVersion.TLSv1_1
        server.minimum_version = ssl.TLSVersion.TLSv1_1
        server.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serving_tls(server) as port:
        error = await failure(port, client)
    # Where OpenSSL is built without TLS 1.1 the handshake fails by itself.
    assert "TLSv1.1 at best" in str(error) or "TLS handshake" in str(error)


async def test_a_handshake_that_fails_otherwise_is_told_by_openssls_name_for_it(authority: trustme.CA) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(bytes.fromhex("15 0301 0002 02 46"))  # a fatal alert: protocol_version

    async with listening(handler) as port:
        error = await failure(port, trusting(authority))
    assert isinstance(error, TlsError)
    assert "ALERT_PROTOCOL_VERSION" in str(error)


def test_the_default_settings_verify_and_begin_at_tls_1_2() -> None:
    context = GoogleAI("key")._route.context()
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


async def test_a_context_that_does_not_verify_reaches_loopback() -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with serving_tls(showing(trustme.CA().issue_cert("localhost"))) as port:
        stream = await dial(GoogleAI("key", base_url=f"wss://localhost:{port}", ssl_context=context)._route, Timeouts())
        await trio.aclose_forcefully(stream)


@pytest.mark.parametrize("verify_mode", [ssl.CERT_NONE, ssl.CERT_REQUIRED])
def test_a_context_that_does_not_verify_reaches_nothing_else(verify_mode: ssl.VerifyMode) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = verify_mode
    with pytest.raises(ConfigError) as caught:
        GoogleAI("key", ssl_context=context)
    assert caught.value.field == "ssl_context"
