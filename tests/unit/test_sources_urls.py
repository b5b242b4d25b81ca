"""The rules a URL meets before anything is looked up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgapi.errors import CallerError, InvalidParameter, SourceRefused
from imgapi.sources.urls import check_url, normalise_url


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/a.png",
        "file:///etc/passwd",
        "gopher://example.com/",
        "javascript:alert(1)",
        "example.com/a.png",
        "//example.com/a.png",
        "http://example.com:8080/a.png",
        "http://example.com:0/a.png",
        "https://example.com:22/",
        "http://user@example.com/",
        "http://user:secret@example.com/",
        "http://example.com@10.0.0.1/",
        "http://@example.com/",
        "http://example.com\\@10.0.0.1/",
        "http:\\\\example.com\\a.png",
        "http://example.com/a b.png",
        " http://example.com/a.png",
        "http://example.com/a.png\n",
        "http://exam\tple.com/",
        "http://example.com/\x00",
        "http://example.com/\x7f",
        "http://example.com/\u3000a",
        "http://example.com/\u2028a",
        "http://example.com/\ud800",
        "http://localhost/",
        "http://intranet/",
        "http://intranet./",
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://127.0.0.1./",
        "http://127.0.0.01/",
        "http://256.1.1.1/",
        "http://1.2.3.4.5/",
        "http://example.123/",
        "http://8.8.8/",
        "http://１２７.0.0.1/",
        "http://127。0。0。1/",
        "http://①②⑦.0.0.1/",
        "http://100.100.100.200/latest/meta-data",
        "http://169.254.169.254/",
        "http://[::1]/",
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://[::ffff:8.8.8.8]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[2606:4700::1111]evil.example/",
        "http://a[2606:4700::1111]/",
        "http://[v1.fe]/",
        "http://[]/",
    ],
)
def test_urls_that_are_never_fetched_are_refused(url: str) -> None:
    """A URL of a refused kind is refused by its spelling alone, with a sentence."""
    with pytest.raises(CallerError) as caught:
        check_url(url)
    assert caught.value.message.endswith((".", "photo.jpg.", ")"))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://",
        "http:///path",
        "http://?q",
        "http://example.com:99999/",
        "http://example.com:+80/",
        "http://example.com:８０/",
        "http://example.com:80:80/",
        "http://exa%6dple.com/",
        "http://example..com/",
        "http://.example.com/",
        "http://-example.com/",
        "http://example.com../",
        "http://" + "a" * 64 + ".com/",
        "http://" + "a." * 130 + "com/",
        "http://exa<mple.com/",
        "http://" + "ü" * 254 + ".example/",
        "http:example.com/",
        "http:/example.com/",
        "http://\u200b.com/",
        "http://xn--\u00fc.com/",
        "http://ex\u2100mple.com/",
    ],
)
def test_urls_that_cannot_be_read_are_invalid(url: str) -> None:
    """What is not a URL with a host that could exist is an invalid parameter."""
    with pytest.raises(InvalidParameter):
        check_url(url)


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("http://example.com", "http://example.com/"),
        ("HTTP://EXAMPLE.com:80/A.png#part", "http://example.com/A.png"),
        ("https://example.com:443?x=1", "https://example.com/?x=1"),
        ("https://example.com:/a", "https://example.com/a"),
        ("https://example.com./a", "https://example.com/a"),
        (
            "https://example.com/图片/猫.jpg?名=值",
            "https://example.com/%E5%9B%BE%E7%89%87/%E7%8C%AB.jpg?%E5%90%8D=%E5%80%BC",
        ),
        ("https://example.com/%E5%9B%BE.jpg", "https://example.com/%E5%9B%BE.jpg"),
        ("https://example.com/100%.jpg", "https://example.com/100%25.jpg"),
        (
            "https://example.com/a%2Fb?Signature=a%2Bb%3D&Expires=1",
            "https://example.com/a%2Fb?Signature=a%2Bb%3D&Expires=1",
        ),
        ('https://example.com/<a>"', "https://example.com/%3Ca%3E%22"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://faß.example/", "https://xn--fa-hia.example/"),
        ("https://BÜCHER。example/", "https://xn--bcher-kva.example/"),
        ("https://例子.测试/", "https://xn--fsqu00a.xn--0zwm56d/"),
        ("https://my_bucket.example.com/a", "https://my_bucket.example.com/a"),
        ("http://8.8.8.8/a", "http://8.8.8.8/a"),
        ("http://[2606:4700:0::1111]/a", "http://[2606:4700::1111]/a"),
    ],
)
def test_a_url_has_one_spelling(url: str, normal: str) -> None:
    """Good URLs are accepted and written in one way, which stays as it is when written again."""
    assert check_url(url).text == normal
    assert normalise_url(normal) == normal


def test_the_length_is_bounded_before_and_after_encoding() -> None:
    """2048 characters pass, 2049 do not, and neither do fewer that grow beyond when percent-encoded."""
    base = "https://example.com/"
    assert len(check_url(base + "a" * (2048 - len(base))).text) == 2048
    with pytest.raises(InvalidParameter, match="2048"):
        check_url(base + "a" * (2049 - len(base)))
    with pytest.raises(InvalidParameter, match="percent-encoded"):
        check_url(base + "图" * 300)


def test_ports_are_a_setting() -> None:
    """Another port passes once it is among the allowed ones, and the message names those that are."""
    assert check_url("http://example.com:8080/", ports=frozenset({8080})).port == 8080
    with pytest.raises(SourceRefused, match="443 or 8443"):
        check_url("http://example.com/", ports=frozenset({443, 8443}))


@pytest.mark.parametrize("url", ["http://localhost:8000/a", "http://127.0.0.1:9/a", "http://[::1]:9/a", "http://nas/a"])
def test_private_sources_can_be_allowed(url: str) -> None:
    """For development, private hosts on any port pass, yet are known not to be public."""
    checked = check_url(url, allow_private=True)
    assert not checked.is_public()
    assert checked.text == url


def test_even_private_sources_keep_the_rules_of_spelling() -> None:
    """Allowing private sources opens no second spelling of a host."""
    for url in ("http://0x7f.1/", "http://user@127.0.0.1/", "file:///etc/passwd", "http://127.1/"):
        with pytest.raises(SourceRefused):
            check_url(url, allow_private=True)


def test_messages_show_neither_query_nor_address() -> None:
    """What may be said of a URL names scheme and host; an address is not named."""
    assert check_url("https://example.com/a?Signature=secret").place == "https://example.com"
    assert check_url("http://10.0.0.1/a", allow_private=True).place == "the URL"
    with pytest.raises(SourceRefused) as caught:
        check_url("http://10.1.2.3/a?Signature=secret")
    assert "10.1.2.3" not in caught.value.message


@given(st.text(max_size=60))
def test_any_text_is_judged_without_a_crash(text: str) -> None:
    """Whatever is sent as a URL is accepted in plain ASCII or refused as the caller's mistake."""
    for url in (text, f"http://{text}", f"https://example.com/{text}"):
        try:
            normal = check_url(url).text
        except CallerError:
            continue
        assert normal.isascii()
        assert normal.isprintable()
        assert " " not in normal
        assert check_url(normal).text == normal
