"""Which base URLs are dialled, and which are refused before any network."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemlive.transport._policy import BaseUrl, is_loopback_address, read_base_url

ACCEPTED = [
    ("wss://generativelanguage.googleapis.com", BaseUrl(True, "generativelanguage.googleapis.com", 443, "", False)),
    ("wss://generativelanguage.googleapis.com/", BaseUrl(True, "generativelanguage.googleapis.com", 443, "", False)),
    ("https://europe-west4.example.com", BaseUrl(True, "europe-west4.example.com", 443, "", False)),
    ("WSS://Example.COM", BaseUrl(True, "example.com", 443, "", False)),
    ("wss://example.com:8443", BaseUrl(True, "example.com", 8443, "", False)),
    ("wss://example.com/a/b", BaseUrl(True, "example.com", 443, "/a/b", False)),
    ("wss://example.com/a/b//", BaseUrl(True, "example.com", 443, "/a/b", False)),
    ("wss://example.com/a%20b", BaseUrl(True, "example.com", 443, "/a%20b", False)),
    ("wss://example.com/user@home", BaseUrl(True, "example.com", 443, "/user@home", False)),
    ("wss://xn--bcher-kva.example", BaseUrl(True, "xn--bcher-kva.example", 443, "", False)),
    ("wss://intranet", BaseUrl(True, "intranet", 443, "", False)),
    ("wss://203.0.113.5", BaseUrl(True, "203.0.113.5", 443, "", False)),
    ("wss://[2001:db8::1]:8443", BaseUrl(True, "2001:db8::1", 8443, "", False)),
    ("wss://[2001:0DB8:0:0::1]", BaseUrl(True, "2001:db8::1", 443, "", False)),
    ("wss://localhost", BaseUrl(True, "localhost", 443, "", True)),
    ("wss://127.0.0.1:8443", BaseUrl(True, "127.0.0.1", 8443, "", True)),
    ("ws://127.0.0.1:8790", BaseUrl(False, "127.0.0.1", 8790, "", True)),
    ("ws://127.255.255.254", BaseUrl(False, "127.255.255.254", 80, "", True)),
    ("ws://[::1]:8790", BaseUrl(False, "::1", 8790, "", True)),
    ("ws://[0:0:0:0:0:0:0:1]", BaseUrl(False, "::1", 80, "", True)),
    ("ws://[::ffff:127.0.0.1]", BaseUrl(False, "::ffff:127.0.0.1", 80, "", True)),
    ("ws://localhost:8790/prefix", BaseUrl(False, "localhost", 8790, "/prefix", True)),
    ("ws://LOCALHOST", BaseUrl(False, "localhost", 80, "", True)),
    ("http://localhost:8790", BaseUrl(False, "localhost", 8790, "", True)),
]  # fmt: skip

REFUSED = [
    # Plain text to anything but this machine.
    "ws://example.com",
    "http://example.com",
    "ws://203.0.113.5",
    "ws://10.0.0.1",
    "ws://[2001:db8::1]",
    "ws://[::ffff:203.0.113.5]",
    "ws://localhost.example.com",
    "ws://example.localhost",
    "ws://localhost.localdomain",
    "ws://127.0.0.1.example.com",
    "ws://128.0.0.1",
    # The same machine, written so that programs read it differently.
    "ws://127.1",
    "ws://2130706433",
    "ws://0x7f.0.0.1",
    "ws://0x7f000001",
    "ws://0177.0.0.1",
    "ws://127.0.0.01",
    "ws://127.0.0.1.",
    "ws://localhost.",
    "wss://127.1",
    "wss://example.com.",
    "wss://1.2.3.4.5",
    "wss://0x",
    # Addresses to listen on.
    "ws://0.0.0.0",
    "wss://0.0.0.0",
    "ws://[::]",
    "wss://[::ffff:0.0.0.0]",
    # What hides the host, or carries a secret.
    "wss://user@example.com",
    "wss://user:password@example.com",
    "ws://127.0.0.1@example.com",
    "wss://generativelanguage.googleapis.com@example.com",
    "wss://example.com?key=secret",
    "wss://example.com/path?key=secret",
    "wss://example.com#fragment",
    "ws://[::1%25eth0]",
    "ws://[::1%eth0]",
    "ws://[127.0.0.1%00.example]",
    "ws://127.0.0.1%00.example",
    "ws://[localhost]",
    "ws://::1",
    # Other schemes and no URL at all.
    "ftp://example.com",
    "file:///etc/passwd",
    "javascript://example.com",
    "wss:example.com",
    "wss:/example.com",
    "wss://",
    "wss:///path",
    "example.com",
    "//example.com",
    "",
    # Ports.
    "wss://example.com:",
    "wss://example.com:0",
    "wss://example.com:65536",
    "wss://example.com:-1",
    "wss://example.com:443x",
    "wss://example.com:٤٤٣",
    # Characters.
    "wss://example.com/a b",
    " wss://example.com",
    "wss://example.com\r\nHost: evil.example",
    "wss://example.com/\r\nx-evil: 1",
    "wss://example.com\x00",
    "wss://example.com\t",
    "wss://bücher.example",
    "wss://example.com\\@evil.example",
    "wss://exa_mple.com",
    "wss://-example.com",
    "wss://example..com",
    "wss://" + "a" * 64 + ".example",
    "wss://example.com/<script>",
    "wss://example.com/100%",
    # Paths that climb.
    "wss://example.com/a/../b",
    "wss://example.com/%2e%2E/b",
    "wss://example.com/./b",
]


@pytest.mark.parametrize(("url", "read"), ACCEPTED, ids=lambda value: value if isinstance(value, str) else "")
def test_an_acceptable_url_is_read(url: str, read: BaseUrl) -> None:
    assert read_base_url(url) == read


@pytest.mark.parametrize("url", REFUSED)
def test_any_other_url_is_refused_before_any_network(url: str) -> None:
    assert isinstance(read_base_url(url), str)


def test_the_table_is_as_long_as_promised() -> None:
    assert len(ACCEPTED) + len(REFUSED) >= 40


@pytest.mark.parametrize("url", ["wss://user:hunter2@example.com", "wss://example.com/?key=hunter2", "hunter2"])
def test_a_refusal_does_not_quote_the_secret_in_the_url(url: str) -> None:
    assert "hunter2" not in str(read_base_url(url))


def test_a_url_that_is_no_text_is_refused() -> None:
    assert read_base_url(b"wss://example.com") == "must be a str, not bytes"  # type: ignore[arg-type]


@given(st.text(max_size=40) | st.from_regex(r"(wss?|https?)://[ -~]{0,40}", fullmatch=True))
def test_any_text_is_read_or_refused(url: str) -> None:
    base = read_base_url(url)
    if isinstance(base, str):
        return
    assert base.secure or base.is_loopback
    assert read_base_url(base.origin + base.prefix) == base


@pytest.mark.parametrize(
    ("host", "is_google"),
    [
        ("googleapis.com", True),
        ("aiplatform.eu.rep.googleapis.com", True),
        ("evilgoogleapis.com", False),
        ("googleapis.com.evil.example", False),
        ("example.com", False),
    ],
)
def test_hosts_of_google_are_told_by_label(host: str, is_google: bool) -> None:
    base = read_base_url(f"wss://{host}")
    assert isinstance(base, BaseUrl)
    assert base.is_google is is_google


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("wss://example.com:443", "wss://example.com"),
        ("ws://localhost:80", "ws://localhost"),
        ("ws://[::1]:8790", "ws://[::1]:8790"),
        ("https://example.com:80", "wss://example.com:80"),
    ],
)
def test_the_origin_leaves_out_the_default_port(url: str, origin: str) -> None:
    base = read_base_url(url)
    assert isinstance(base, BaseUrl)
    assert base.origin == origin


@pytest.mark.parametrize(
    ("address", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::1%lo", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("", False),
        ("localhost", False),
    ],
)
def test_a_peer_address_is_loopback_or_not(address: str, is_loopback: bool) -> None:
    assert is_loopback_address(address) is is_loopback
