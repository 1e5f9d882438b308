"""What looks like a secret in a text that others wrote: its value is masked, its name stays.

Logs, environments and command lines hold passwords and tokens that nobody told this program. Two things give them
away: their form (a Hugging Face token, a JWT, a private key, a URL with a user in it), and the name before them
(``HF_TOKEN=``, ``"password":``, ``--api-key``), as the CI of vllm-ascend and vLLM's collect_env take them [domain
section 10]. The texts of this trade are also full of innocent tokens and keys (``max_num_batched_tokens=8192``,
``"eos_token": "</s>"``, a KV cache's keys), and a log full of masks is no evidence: where a name alone doesn't tell,
the value must look like a secret too. ``tests/redaction.yaml`` says what is what.

Everything works on bytes, of which a lower-case copy has the same length. A text is searched for a few short words
first, which is fast; only what is around those is looked at. A mask replaces neither quotes nor escapes, so that JSON
stays JSON.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

MASK = "********"
_MASK = MASK.encode()

Span = tuple[int, int, bytes]
"""From, to, and what takes the place."""
Family = Literal["token", "secret", "pass", "key", "credential", "auth", "authorization"]

LONGEST = 4_096
"""Bytes of a value at most: what is longer is no secret but a text whose closing quote is missing. This, and the bounds
in the patterns, keep the time for any text, also one made to be slow, in proportion to its length."""


def masked(data: bytes) -> bytes:
    """``data`` without the values of what looks like a secret in it. The same object where there is none."""
    spans = sorted(_spans(data))
    if not spans:
        return data
    parts: list[bytes] = []
    done = 0
    for start, end, mask in spans:
        if start >= done:
            parts += (data[done:start], mask)
        done = max(done, end)
    return b"".join([*parts, data[done:]])


def _spans(data: bytes) -> Iterator[Span]:
    low = data.lower()
    for needle, finders in _FINDERS:
        if needle in low:
            for find in finders:
                yield from find(data, low)


def is_secret(name: str, value: str) -> bool:
    """Whether ``value`` is one by the name that it has: a key, a variable, an option."""
    flat = value.encode("utf-8", "replace").translate(_FLAT)
    text = b'"%s": "%s"' % (name.encode("utf-8", "replace"), flat)
    return any(start == len(text) - len(flat) - 1 for start, _, _ in _spans(text))


_FLAT = bytes.maketrans(b'"\\\n', b"..,")
"""What a value must not hold to stand between quotes."""


# ---- by form


@dataclass(frozen=True, slots=True)
class _Form:
    """Masks group 1 of ``pattern``, which is searched in the text as it is."""

    pattern: re.Pattern[bytes]
    must: re.Pattern[bytes] | None = None

    def __call__(self, data: bytes, low: bytes) -> Iterator[Span]:
        for found in self.pattern.finditer(data):
            start, end = found.span(1)
            if start < end and (self.must is None or self.must.search(data, start, end)):
                yield start, end, _MASK


_DIGIT = re.compile(rb"\d")
_NOT_WITHIN = rb"(?<![A-Za-z0-9_-])"
_FORMS = (
    (b"hf_", _Form(re.compile(rb"(hf_(?<![A-Za-z0-9]hf_)[A-Za-z0-9]{20,})"))),
    (b"ghp_", _Form(re.compile(rb"(ghp_[A-Za-z0-9]{20,})"))),
    (b"gho_", _Form(re.compile(rb"(gho_[A-Za-z0-9]{20,})"))),
    (b"ghs_", _Form(re.compile(rb"(ghs_[A-Za-z0-9]{20,})"))),
    (b"github_pat_", _Form(re.compile(rb"(github_pat_\w{20,})"))),
    (b"glpat-", _Form(re.compile(rb"(glpat-[\w-]{16,})"))),
    (b"sk-", _Form(re.compile(rb"sk-(?<![A-Za-z0-9_-]sk-)([\w-]{20,})"), _DIGIT)),
    (b"ms-", _Form(re.compile(rb"ms-(?<![A-Za-z0-9_-]ms-)([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"))),
    (b"akia", _Form(re.compile(rb"(AKIA(?<![A-Za-z0-9]AKIA)[A-Z0-9]{16})(?![A-Za-z0-9])"))),
    (b"eyj", _Form(re.compile(rb"(eyJ(?<![\w-]eyJ)[\w-]{8,}\.eyJ[\w-]{8,}(?:\.[\w-]+)?)"))),
    (
        b"bearer",
        _Form(re.compile(rb"[Bb](?:earer|EARER)(?:[ \t]+|%20)([\w.~+/=-]{8,})"), re.compile(rb"\d|[\w.~+/=-]{20}")),
    ),
)
_INNER = rb"\\(?!\\*[nrt\"'])|(?<=\w)'(?=\w)"
"""A backslash that is no part of an escape of JSON, however deep; an apostrophe."""
_SSHPASS = _Form(re.compile(rb"sshpass[ \t]+-p[ \t]*\\*[\"']?((?!\xe2\x80\xa6|\$)(?:[^\s\"'\\]|" + _INNER + rb")+)"))
_PLAIN = rb"((?![$/{<*]|\xe2\x80\xa6|(?i:none|null|true|false|auto|required|empty|error|unset)\b)[^\s\"'\\,;|&}]{4,})"
"""A value without blanks that is no path, variable or template."""
_LOGIN = _Form(
    re.compile(
        rb"(?:docker|podman|nerdctl|helm|oras|skopeo)[^\n|;&]{0,80}?\blogin\b[^\n|;&]{0,200}?[ \t]-p[ \t=]*[\"']?"
        + _PLAIN
    )
)
_NETRC = _Form(re.compile(rb"\blogin[ \t]+\S{1,200}[ \t]+password[ \t]+" + _PLAIN))
_CURL = _Form(
    re.compile(
        rb"\b(?:curl|wget)\b[^\n]{0,400}?[ \t](?:-u|--user|--proxy-user|-U)[ \t=]*[\"']?[^\s:\"'/]{1,100}:" + _PLAIN
    )
)
_IPMI = _Form(re.compile(rb"\bipmitool\b[^\n]{0,200}?[ \t]-P[ \t]*[\"']?" + _PLAIN))
_SHORT_NAMES = _Form(
    re.compile(
        rb"(?:[A-Za-z0-9]_(?:PWD|pwd|PW|pw)|[A-Z0-9]_(?:SK|PAT)|\bSSHPASS|\bpsk)"
        rb"(?:\\*[\"'])?[ \t]*[=:][ \t]*(?:\\*[\"'])?" + _PLAIN
    ),
    re.compile(rb"[A-Za-z]"),
)
_NAMED_VALUE = _Form(
    re.compile(
        rb"\bname\\*[\"']?:[ \t]*\\*[\"']?[\w.-]{0,80}(?:TOKEN|SECRET|PASSWORD|PASSWD|API_KEY|ACCESS_KEY|CREDENTIALS?)"
        rb"\\*[\"']?(?:\s|\\+n){0,40},?(?:\s|\\+n){0,40}\\*[\"']?value\\*[\"']?:[ \t]*\\*[\"']?" + _PLAIN
    )
)
"""A list of variables, as Kubernetes writes it."""
_HERE = _Form(
    re.compile(rb"(?:\bsudo\b[^\n|<]{0,40}[ \t]-S[^\n|<]{0,40}|\bchpasswd[ \t]*)<<<[ \t]*[\"']?((?![$])[^\s\"'\\]{4,})")
)
_SIGNATURE = _Form(re.compile(rb"[?&](?:X-Amz-|x-obs-|x-oss-)?[Ss]ignature=([^\s\"'&\\]{8,})"))
_COOKIE = _Form(re.compile(rb"\b(?:[Cc]ookie)\\*[\"']?:[ \t]*\\*[\"']?[\w.-]{1,80}=([^\s;\"'\\]{8,})"))
_KEY_DATA = _Form(re.compile(rb"client-key-data\\*[\"']?:[ \t]*\\*[\"']?([A-Za-z0-9+/=]{20,})"))
_CHINESE = _Form(
    re.compile(
        rb"(?:\xe5\xaf\x86\xe7\xa0\x81|\\+u5bc6\\+u7801)[ \t]*(?::|=|\xef\xbc\x9a|\xe4\xb8\xba|\xe6\x98\xaf|\\+uff1a)"
        rb"[ \t]*(?![$*<{])([!#-&(-\[\]-~]{4,})"
    )
)
"""The Chinese word for a password, also as JSON escapes it."""
_PIPED = _Form(
    re.compile(
        rb"\b(?:echo|printf)[ \t]+(?:-n[ \t]+)?[\"']?((?![$%])[^\s\"'|\\]{4,})[^\n|]{0,20}\|[^\n|]{0,120}?"
        rb"(?:--password-stdin|\bsudo\b[^\n|]{0,20}[ \t]-S|\bchpasswd)"
    )
)
_PRIVATE_KEY = _Form(
    re.compile(rb"BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----((?:[^\"'\\-]|\\(?!\\*[\"'])|-(?!----))*+)")
)
_USERINFO = re.compile(rb"://([^\s/@\"'<>\\]{0,256}:[^\s/\"'<>\\]{1,256}|[^\s/@\"'<>\\]{1,256})@(?=[\w\[])")
_WITH_SLASH = re.compile(rb"://([^\s/@:\"'<>\\]{1,256}:(?!\d+/)[^\s@\"'<>\\]{1,256})@(?=[\w\[])")
_PROXY = re.compile(rb"proxy\\*[\"']?[ \t]*[=:][ \t]*\\*[\"']?([^\s/@:\"'\\]{1,256}:[^\s/@\"'\\]{1,256})@")


def _logins(data: bytes, low: bytes) -> Iterator[Span]:
    """User and password in a URL. A user alone is one where the URL is of HTTP; ``ssh://git@…`` is an address."""
    for found in _USERINFO.finditer(data):
        start, end = found.span(1)
        alone = b":" not in found[1]
        if not (alone and not low.endswith((b"http://", b"https://"), 0, start)) and not _harmless(found[1]):
            yield start, end, _MASK
    for pattern in (_WITH_SLASH, _PROXY):
        for found in pattern.finditer(data if pattern is _WITH_SLASH else low):
            yield *found.span(1), _MASK


# ---- by name

_SEPARATOR = (
    rb"(?P<close>\\*[\"'])?(?:(?P<is>[ \t]*(?:=>|[:=](?![:=]))[ \t]*)"
    rb"|(?P<gap>(?(close)[ \t]*,\s*(?=\\*[\"'])|[ \t]+(?=[^\s-]))))"
)
_MORE = rb"(?P<more>_[a-z0-9_]{1,40}|\d{0,9})"
_NAME_BYTES = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."
_SPLIT = re.compile(rb"[_.-]+")

_MODEL_WORDS = frozenset(
    b"bos eos pad unk sep cls mask stop next image img video audio special start begin end last first prev prompt "
    b"output input per new placeholder draft think thinking reasoning vision time each generated sampled accepted "
    b"rejected bonus cached any no max min tool call decode prefill current pooling turn".split()
)
"""What stands before ``token`` where it is a piece of text and no secret [tokenizer_config.json, vLLM's logs]."""
_KEYS = frozenset(b"access api private secret signing encryption auth account storage ssh master license".split())
_JOINED_KEYS = (b"api", b"access", b"secret", b"private")
_OPEN_KEYS = frozenset(b"public pub cache sort primary foreign host partition routing hash kv prefix registry".split())
"""Variables ``…_KEY`` that hold none."""
_PASSES = frozenset(
    b"ansible become ssh db database user admin root sudo su smtp mail registry proxy http https mysql pg postgres "
    b"redis login ldap ftp bmc ipmi http_proxy".split()
)
"""What stands before ``_pass`` where that is a password: a forward pass is none."""
_ENDS = frozenset(
    b"file files path dir folder url uri name names id ids type types limit size count ttl len length num number batch "
    b"budget expiry expires timeout enabled required mode format hint env algorithm version rate".split()
)
"""The last word of a name that speaks of a secret and holds none: ``TOKEN_FILE``, ``SECRET_NAME``."""
_WORDS = frozenset(
    b"none null nil true false yes no on off required missing incorrect invalid is was not must should unset set empty "
    b"expired denied failed failure error wrong mismatch absent default unknown undefined optional auto redacted "
    b"hidden str string int bool bytes any optional[str] and or for the a an of to in has authentication too "
    b"could cannot ~ - | > |- >- !vault".split()
)
_HARMLESS = re.compile(
    rb"\$\{?[A-Za-z_][A-Za-z0-9_]*\}?\Z|\$\{\w+[#%/]|\$\(|\{\{|\{(?:env|file|command)\b|[\[{(]*[\]})]*\Z|\{[\"'\\]|<[A-Za-z_|/][^<>]*>?\Z"
    rb"|%\(?\w|\{\w*\}|\*{3}|\.\.\.|x{3,}\Z|\xe2\x80\xa6|\xe2\x96\x88|(?:os\.|self\.|args\.|typing\.)",
    re.IGNORECASE,
)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?\Z")
_FEW = re.compile(rb"-?\d{1,9}(?:\.\d+)?(?:s|ms|us|%)?\Z")
_PATH = re.compile(rb"(?:~|\.{1,2})?/[\w.@/-]*\Z")
_SCHEME = re.compile(rb"(?:Bearer|Basic|Token|Digest|Negotiate|ApiKey|AWS4-HMAC-SHA256)[ \t]+", re.IGNORECASE)
_PUBLIC = (b"ssh-", b"ecdsa-", b"sk-ssh-", b"sk-ecdsa-", b"sha256:")


@dataclass(frozen=True, slots=True)
class _Named:
    """``name`` as written, without dashes before it; ``stem``: what is before the word that gives it away, in lower
    case; ``more``: what is after it. ``start``: of the name, dashes included."""

    name: bytes
    stem: bytes
    more: bytes
    kind: bytes
    start: int
    option: bool

    @property
    def last(self) -> bytes:
        """The last word of the stem."""
        return _SPLIT.split(self.stem.rstrip(b"_-."))[-1]

    @property
    def is_variable(self) -> bool:
        return self.name == self.name.upper()


def _finder(family: Family, head: bytes) -> Callable[[bytes, bytes], Iterator[Span]]:
    pattern = re.compile(head + _SEPARATOR)

    def find(data: bytes, low: bytes) -> Iterator[Span]:
        done = 0
        for found in pattern.finditer(low):
            if found.start() < done:
                continue  # within a value
            named = _named(data, found)
            if (not found["gap"] or named.option) and _is_meant(family, named):
                for span in _values(data, family, named, found):
                    done = span[1]
                    yield span

    return find


def _named(data: bytes, found: re.Match[bytes]) -> _Named:
    before = data[max(0, found.start() - 64) : found.start()]
    stem = before[len(before.rstrip(_NAME_BYTES)) :]
    start = found.start() - len(stem)
    end = found.end("more")
    kind = found.groupdict().get("kind") or b""
    name = data[start:end].lstrip(b"-.")
    return _Named(name, stem.lstrip(b"-.").lower(), found["more"] or b"", kind, start, stem.startswith(b"--"))


def _is_meant(family: Family, named: _Named) -> bool:
    """Whether the name is one of a secret, whatever its value is."""
    if named.more and not named.more.isdigit() and not _is_further(named):
        return False
    if family == "token":
        return named.last not in _MODEL_WORDS
    if family == "pass":
        return bool(named.kind) or (named.stem.endswith((b"_", b"-")) and named.last in _PASSES)
    if family == "key":
        return _is_key(named)
    return True


def _is_further(named: _Named) -> bool:
    """``HF_TOKEN_PROD``: a variable with more words after the telling one."""
    return named.is_variable and _SPLIT.split(named.more)[-1] not in _ENDS


def _is_key(named: _Named) -> bool:
    if named.last in _KEYS or (not named.stem.endswith(b"_") and named.last.endswith(_JOINED_KEYS)):
        return True
    return named.is_variable and named.stem.endswith(b"_") and named.last not in _OPEN_KEYS


def _values(data: bytes, family: Family, named: _Named, found: re.Match[bytes]) -> Iterator[Span]:
    before = data[named.start - 1 : named.start] if named.start else b""
    if before == b"/" and not named.option:
        return  # a file: /etc/passwd: No such file
    for start, end in _places(data, family, named, found):
        scheme = _SCHEME.match(data, start, end) if family == "authorization" else None
        start = scheme.end() if scheme else start
        value = data[start:end]
        family = "secret" if scheme else family
        if not _is_secret(family, named, value, quoted_name=bool(found["close"])):
            continue
        bare_json = found["close"] and data[start - 1 : start] not in (b'"', b"'") and _NUMBER.match(value)
        yield start, end, b'"' + _MASK + b'"' if bare_json else _MASK


def _is_secret(family: Family, named: _Named, value: bytes, *, quoted_name: bool) -> bool:
    low = value.lower()
    if not value or low.rstrip(b".,;:!`") in _WORDS or _harmless(value) or low.startswith(_PUBLIC):
        return False
    if family in ("pass", "secret"):
        return not (family == "secret" and _PATH.match(value))
    if _FEW.match(value) or (_PATH.match(value) and value.count(b"/") > 1):
        return False
    if family == "auth":
        return (quoted_name or named.stem.endswith(b"_")) and _is_login(value)
    if family == "authorization":
        return _looks_secret(value, 8)
    if family == "token" and (not named.stem or named.more):
        return _looks_secret(value, 12)
    return family != "credential" or bool(named.stem) or _looks_secret(value, 8)


def _harmless(value: bytes) -> bool:
    return bool(_HARMLESS.match(value))


def _looks_secret(value: bytes, least: int) -> bool:
    """Letters and digits in one word of some length."""
    if len(value) < least or any(byte in value for byte in b" \t<>"):
        return False
    return len(value) >= 2 * least or (bool(_DIGIT.search(value)) and bool(re.search(rb"[A-Za-z]", value)))


def _is_login(value: bytes) -> bool:
    """Whether this is ``user:password`` in base64, as docker keeps it."""
    try:
        return b":" in b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except (Base64Error, ValueError):
        return False


# ---- where a value begins and ends

_OPEN = re.compile(rb"(?P<list>[\[(]\s*)?(?:SecretStr\(|[bBrRuUfF](?=[\"']))?(?P<quote>\\*[\"'])")
_NEXT = re.compile(rb"\s*,\s*(?P<quote>\\*[\"'])")
_STOP = re.compile(rb"(\\*)([\"'\n])")
_STRUCTURE = re.compile(rb"\s*(?:[,:}\]]|\Z)")
_GOES_ON = re.compile(rb"\s*(?:[}\]]\s*)*(?:\Z|\n|,\s*(?:\\*[\"']|[{\[0-9tfn-]))")
"""What follows a text's end in JSON, or in Python's way to write a list."""

_HEADER = re.compile(_SCHEME.pattern + rb"[^\s\"'\\]+", re.IGNORECASE)
_BARE = re.compile(rb"(?:[^\s\"'\\]|" + _INNER + rb")+")
_IN_QUERY = re.compile(rb"[^\s\"'\\&#]+")
_TO_BLANK = re.compile(rb"\S+")
_TO_END = re.compile(rb"(?:[^\"'\\\n#]|" + _INNER + rb"|(?<!\s)#)*(?<!\s)")
_LINE_START = re.compile(rb"[ \t]*(?:- )?[ \t]*\Z")


def _places(data: bytes, family: Family, named: _Named, found: re.Match[bytes]) -> Iterator[tuple[int, int]]:
    """The values that belong to a name: one, or those of a list."""
    at = found.end()
    opened = _OPEN.match(data, at)
    around = _quote_before(data, named.start) if found["is"] and b"=" in found["is"] and not found["close"] else b""
    if opened and (found["close"] or not _closes(data, opened, around)):
        yield from _quoted(data, opened)
        return
    if around:
        end = _closing(data, at, around)
        blank = _TO_BLANK.match(data, at, end)
        yield at, end if family in ("pass", "secret") or blank is None else blank.end()
        return
    if _HARMLESS.match(data, at, at + 64):
        return  # told by how it begins
    bare = _bare_pattern(data, family, named, found).match(data, at, at + LONGEST)
    if bare:
        yield at, at + len(bare[0].rstrip(b",;)]}"))


def _bare_pattern(data: bytes, family: Family, named: _Named, found: re.Match[bytes]) -> re.Pattern[bytes]:
    if family == "authorization" and _HEADER.match(data, found.end()):
        return _HEADER
    if named.start and data[named.start - 1 : named.start] in (b"?", b"&"):
        return _IN_QUERY
    line = data[max(data.rfind(b"\n", 0, named.start) + 1, named.start - 64) : named.start]
    to_end = family == "pass" and b":" in (found["is"] or b"") and not found["close"] and _LINE_START.match(line)
    return _TO_END if to_end else _BARE


def _quoted(data: bytes, opened: re.Match[bytes]) -> Iterator[tuple[int, int]]:
    is_list = bool(opened["list"])
    following: re.Match[bytes] | None = opened
    while following:
        quote = following["quote"]
        end = _closing(data, following.end(), quote)
        yield following.end(), end
        following = _NEXT.match(data, end + len(quote)) if is_list else None


def _closing(data: bytes, start: int, quote: bytes) -> int:
    """Where the text that ``quote`` opened ends. Each level of escaping doubles the backslashes before a quote and adds
    one, so their number tells whether one belongs to the text."""
    level = len(quote) - 1
    mark = quote[-1:]
    end = min(len(data), start + LONGEST)
    position = start
    while stop := _STOP.search(data, position, end):
        slashes = len(stop[1])
        if stop[2] == b"\n" or (stop[2] != mark and _ends_around(data, stop, level)):
            return stop.start(2) if stop[2] == b"\n" else stop.start()
        inner, rest = divmod(slashes - level, level + 1)
        if stop[2] == mark and slashes < level:
            return stop.start()
        if stop[2] == mark and inner % 2 == 0 and rest == 0 and not data.startswith(b"\\''", stop.end()):
            return stop.end() - len(quote)
        position = stop.end() + (3 if stop[2] == mark and data.startswith(b"\\''", stop.end()) else 0)
    return end


def _closes(data: bytes, opened: re.Match[bytes], around: bytes) -> bool:
    """Whether what looks like an opening quote ends the text around it: ``"A_TOKEN="`` or ``"A_TOKEN=R"`` in a list.
    Which quote opened that text is known only where it stands right before the name."""
    if around and opened["quote"][-1:] != around[-1:]:
        return False
    return bool(_GOES_ON.match(data, opened.end()))


def _ends_around(data: bytes, stop: re.Match[bytes], level: int) -> bool:
    """Whether a double quote within single ones closes the JSON text that they stand in."""
    return stop[2] == b'"' and len(stop[1]) <= level and bool(_STRUCTURE.match(data, stop.end()))


def _quote_before(data: bytes, start: int) -> bytes:
    """The quote, with its backslashes, that opens right before a name."""
    mark = data[start - 1 : start] if start else b""
    if mark not in (b'"', b"'"):
        return b""
    before = data[max(0, start - 17) : start - 1]
    return before[len(before.rstrip(b"\\")) :] + mark


_FINDERS: tuple[tuple[bytes, tuple[Callable[[bytes, bytes], Iterator[Span]], ...]], ...] = (
    *((needle, (form,)) for needle, form in _FORMS),
    (b"login", (_LOGIN, _NETRC)),
    (b"curl", (_CURL,)),
    (b"wget", (_CURL,)),
    (b"ipmitool", (_IPMI,)),
    (b"sshpass", (_SHORT_NAMES,)),
    (b"psk", (_SHORT_NAMES,)),
    (b"_pw", (_SHORT_NAMES,)),
    *((needle + end, (_SHORT_NAMES,)) for needle in (b"_sk", b"_pat") for end in (b"=", b'"', b":", b"\\")),
    (b"signature=", (_SIGNATURE,)),
    (b"cookie", (_COOKIE,)),
    (b"client-key-data", (_KEY_DATA,)),
    (b"\xe5\xaf\x86\xe7\xa0\x81", (_CHINESE,)),
    *((needle, (_PIPED,)) for needle in (b"password-stdin", b"sudo ", b"chpasswd")),
    (b"<<<", (_HERE,)),
    (b'value":', (_NAMED_VALUE,)),
    (b"value:", (_NAMED_VALUE,)),
    (b"value\\", (_NAMED_VALUE,)),
    (b"u5bc6", (_CHINESE,)),
    (b"@", (_logins,)),
    (b"token", (_finder("token", b"token" + _MORE),)),
    (b"secret", (_finder("secret", b"secret" + _MORE),)),
    (b"pass", (_finder("pass", b"pass(?P<kind>word|wd|phrase|code)?" + _MORE), _SSHPASS)),
    (b"key", (_finder("key", b"key" + _MORE), _PRIVATE_KEY)),
    (b"credential", (_finder("credential", b"credentials?" + _MORE),)),
    (b"auth", (_finder("auth", b"auth(?P<more>)"), _finder("authorization", b"authorization(?P<more>)"))),
)
"""What to do where a word is in the lower-case copy of a text. Each costs a scan of it, and most texts hold none."""
