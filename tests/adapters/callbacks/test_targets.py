"""A delivery goes where the operator said, and an address of the inside is never reached by a name."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from ecovisor.adapters.callbacks.targets import address_of, allowed_target, check_target, is_public, target_of
from ecovisor.model.errors import Refused, SettingRefused


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://hooks.example.org/x?y=1", "https://hooks.example.org"),
        ("https://HOOKS.example.org", "https://hooks.example.org"),
        ("https://hooks.example.org:443/", "https://hooks.example.org"),
        ("https://hooks.example.org:8443/a%20b", "https://hooks.example.org:8443"),
        ("https://10.0.0.5/", "https://10.0.0.5"),
        ("https://[2001:DB8::5]:444/", "https://[2001:db8::5]:444"),
        ("http://127.0.0.1:8080/tick", "http://127.0.0.1:8080"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
    ],
)
def test_a_url_leads_to_scheme_host_and_port(url: str, target: str) -> None:
    assert str(target_of(url)) == target


BAD_URLS = [
    "",
    "hooks.example.org",
    "ftp://hooks.example.org",
    "http://hooks.example.org/",
    "http://10.0.0.5:80/",
    "http://localhost:8080/",
    "https://user@hooks.example.org/",
    "https://user:secret@hooks.example.org/",
    "https://hooks.example.org@evil.example/",
    "https://hooks.example.org\\@evil.example/",
    "https://hooks.example.org#@evil.example/",
    "https://hooks.example.org/#f",
    "https://hooks.example.org:0/",
    "https://hooks.example.org:99999/",
    "https://hooks.example.org:/",
    "https:///x",
    "https://",
    "https://a..b/",
    "https://2130706433/",
    "https://127.1/",
    "https://0x7f.0.0.1/x\n",
    "https://hooks.example.org/\r\nhost: x",
    "https://hooks.example.org/ x",
    "https://höoks.example.org/",
    "https://[fe80::1%25eth0]/",
    "https://[::1/",
    "//hooks.example.org",
    "javascript:alert(1)",
    "file:///etc/passwd",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_what_is_no_target_is_refused(url: str) -> None:
    with pytest.raises(SettingRefused):
        target_of(url)


@settings(max_examples=60)
@given(st.from_regex(r"https?://[ -~]{1,40}", fullmatch=True))
def test_the_client_reads_no_url_differently(url: str) -> None:
    try:
        target = target_of(url)
    except SettingRefused:
        return
    read = URL(address_of(url), encoded=True)
    assert (read.scheme, read.host, read.port) == (target.scheme, target.host, target.port)
    assert read.user is None


@pytest.mark.parametrize(
    "line", ["https://hooks.example.org", "https://hooks.example.org:8443", "http://127.0.0.1:9000", "https://10.1.2.3"]
)
def test_a_line_of_the_operators_is_a_target(line: str) -> None:
    assert str(allowed_target(line)) == line


@pytest.mark.parametrize(
    "line",
    [
        "https://hooks.example.org/path",
        "https://hooks.example.org/",
        "http://127.0.0.1",
        "http://example.org:80",
        "*",
        "https://*.example.org",
    ],
)
def test_a_line_that_is_none_is_refused_as_such(line: str) -> None:
    with pytest.raises(SettingRefused, match="webhook_allow"):
        allowed_target(line)


ALLOWED = ["https://hooks.example.org", "http://127.0.0.1:9000"]


@pytest.mark.parametrize(
    "url", ["https://hooks.example.org/any/path?q=1", "https://HOOKS.EXAMPLE.ORG:443", "http://127.0.0.1:9000/tick"]
)
def test_an_allowed_target_is_allowed_with_any_path(url: str) -> None:
    check_target("web", url, ALLOWED)


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.org.evil.example/",
        "https://sub.hooks.example.org/",
        "https://hooks.example.org:444/",
        "http://127.0.0.1:9001/",
        "https://127.0.0.1:9000/",
        "http://[::1]:9000/",
        "https://169.254.169.254/latest/meta-data",
    ],
)
def test_what_is_not_allowed_is_refused_with_the_very_line_to_add(url: str) -> None:
    with pytest.raises(Refused) as refused:
        check_target("web", url, ALLOWED)
    line = str(refused.value).rpartition("webhook_allow = ")[2]
    added = eval(line)
    assert added[:-1] == ALLOWED
    assert 'name = "web"' in str(refused.value)
    check_target("web", url, added)


def test_nothing_is_allowed_by_default() -> None:
    with pytest.raises(Refused, match="is not among the targets"):
        check_target("web", "https://hooks.example.org/", [])


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2001:db8::1",
    ],
)
def test_an_address_of_the_inside_is_not_public_in_any_disguise(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_an_address_of_the_open_internet_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))
