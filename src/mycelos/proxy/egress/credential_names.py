"""Names under which services take a credential, a session or another method: query keys, path parameters, headers.

Beside an injected credential the caller's own would decide whose account it is. Names are compared as the most
lenient server would: without case, separators, escapes and look-alike letters.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import unquote_plus

_NAMES: Final = frozenset(
    {
        "assertion",
        "auth",
        "bearer",
        "clientassertion",
        "googleaccessid",
        "httpheaders",
        "httpmethod",
        "jsessionid",
        "jwt",
        "key",
        "pass",
        "passphrase",
        "phpsessid",
        "pwd",
        "samlresponse",
        "sessionid",
        "sid",
        "sig",
        "sudo",
        "token",
        "xhttpmethod",
    }
)
# `page_token`, `nextPageToken` and their like continue a list: only tokens that sign in are named.
_ENDINGS: Final = (
    "accesskey",
    "accesskeyid",
    "accesstoken",
    "apikey",
    "apitoken",
    "appkey",
    "applicationkey",
    "authkey",
    "authorization",
    "authtoken",
    "bearertoken",
    "consumerkey",
    "credential",
    "credentials",
    "idtoken",
    "methodoverride",
    "oauthtoken",
    "passwd",
    "password",
    "privatekey",
    "privatetoken",
    "refreshtoken",
    "secret",
    "secretkey",
    "securitytoken",
    "servicetoken",
    "sessiontoken",
    "signature",
    "subscriptionkey",
    "usertoken",
)
# Rails, Symfony, Laravel; PHP reads a space, a dot or an open bracket as the underscore. `method` is another name.
_METHOD_KEY: Final = re.compile(r"[^a-z0-9]+method\Z", re.ASCII)
_SEPARATORS: Final = re.compile(r"[^a-z0-9]", re.ASCII)


def carries_credential(name: str) -> bool:
    """Whether a service may take a credential, a session or a method under this name, escaped or not."""
    while (decoded := unquote_plus(name)) != name:
        name = decoded
    name = unicodedata.normalize("NFKC", name).casefold()
    # `key[]` is the key, and to PHP so is `k[ey`.
    for form in (name.partition("[")[0], name):
        bare = _SEPARATORS.sub("", form)
        if bare in _NAMES or bare.endswith(_ENDINGS) or _METHOD_KEY.match(form):
            return True
    return False
