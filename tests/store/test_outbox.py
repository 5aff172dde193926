"""Webhooks as far as the store alone decides: which addresses they may have, and who hears."""

from __future__ import annotations

import pytest

from store import outbox, users, webhooks
from store.addresses import is_public
from store.errors import Refused

INTERNAL = [
    "127.0.0.1", "127.8.8.8", "2130706433", "0x7f.1", "0177.0.0.1", "localhost", "x.localhost", "localhost.",
    "0.0.0.0", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.100.100.200", "168.63.129.16",
    "224.0.0.1", "255.255.255.255", "240.0.0.1", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:a00:1]",
    "[::127.0.0.1]", "[fd00:ec2::254]", "[fe80::1]", "[ff02::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
    "[2001:0:7f00:1::]", "[2001:db8::1]",
]  # fmt: skip


@pytest.mark.parametrize("host", INTERNAL)
def test_internal_addresses_are_refused_in_every_form(host, tmp_path):
    with pytest.raises(Refused, match="internal"):
        webhooks._host(f"http://{host}:8080/x", "")
    assert webhooks._host(f"http://{host}:8080/x", "*")


def test_public_addresses_are_not():
    assert all(map(is_public, ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111"]))
    for url in ("https://example.org/a?b=c", "http://1.1.1.1", "http://[2606:4700:4700::1111]:8080/"):
        assert webhooks._host(url, "")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x.org",
        "x.org/hook",
        "http://",
        "http://a:b@x.org",
        "http://x.org/#a",
        "http://x.org:x/",
        "http://x.org\\@y",
        "http://[::1",
    ],
)
def test_what_is_no_address_is_refused(engine, owner, url):
    with pytest.raises(Refused, match="expected"):
        webhooks.add(engine, owner, url)


def test_a_disabled_user_hears_nothing(engine):
    member = users.add(engine, "ann", "member").id
    made, _ = webhooks.add(engine, member, "https://example.org/")
    webhooks.send_test(engine, member, made.id)
    users.change(engine, "ann", is_disabled=True)
    assert outbox.claim(engine) == []
