import msgspec

from mycelos.operator.forms import build_bindings
from mycelos.operator.wording import address, describe, join
from mycelos.wire.binding import Quota


def test_a_binding_is_told_in_plain_words() -> None:
    (binding,) = build_bindings(hosts=["api.example.com"], path_prefixes=["/v1/items"], methods=["GET", "HEAD", "POST"])
    assert describe(binding) == (
        "GET, HEAD and POST on https://api.example.com/v1/items and below it, sent as a bearer token."
    )


def test_each_limit_of_a_binding_is_told() -> None:
    (binding,) = build_bindings(
        hosts=["http://127.0.0.1:8080"], inject_as="header:X-Key", confirm=True,
        quota=Quota(requests_per_day=5, bytes_per_day=100),
    )  # fmt: skip
    binding = msgspec.structs.replace(binding, query=("page", "size"))
    assert describe(binding) == (
        "GET on any path of http://127.0.0.1:8080, with no query but page and size, sent in the header X-Key. "
        "Not encrypted on its way. A person confirms each use. At most 5 requests and 100 bytes a day."
    )
    for query in ("none", ()):
        assert "without a query" in describe(msgspec.structs.replace(binding, query=query))


def test_each_way_to_inject_is_told() -> None:
    for inject_as, words in {"basic:me": "as the password of the user me", "url_path": "inside the path"}.items():
        path = "/{credential}" if inject_as == "url_path" else "/v1"
        (binding,) = build_bindings(hosts=["a.example"], path_prefixes=[path], inject_as=inject_as)
        assert describe(binding).endswith(f"sent {words}.")


def test_a_port_is_told_where_it_is_not_the_schemes_own() -> None:
    assert address("https", "a.example", 443) == "https://a.example"
    assert address("https", "a.example", 80) == "https://a.example:80"
    assert address("http", "a.example", 80) == "http://a.example"
    assert join(["one"]) == "one"
