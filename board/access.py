"""Who may ask a server: bearer keys, of which hashes are kept. Without any it answers on loopback
alone.

A key is 256 random bits, so one round of SHA-256 keeps it: there is nothing to guess that a slow
hash would protect, and every request is checked. Once a file of keys is there, nobody is let in
without one, even when the last key was removed.
"""

import fcntl
import hmac
import ipaddress
import json
import os
import re
import secrets
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autodata.ledger.rows import now
from autodata.tasks.types import Frozen

if TYPE_CHECKING:
    from langgraph_sdk import Auth

SERVED_RUN = ("AUTODATA_RUN", "runs/studio")  # a variable, and what stands where it is not set
KEYS_FILE = "AUTODATA_KEYS"  # names the file of keys; beside the served run folder unless it is set
KEY_BEGINS = "autodata_"  # so that whoever finds one knows what it is
RANDOM_BYTES = 32
KEY_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")  # of a key: it is a folder's name, too
EVERYBODY = "*"  # owns what the server itself made for all; no key can be called so
LIVENESS = ("/ok", "/health")  # answer without a key, and then without details
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; object-src 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # without one, browsers do not say from where a form is sent
    "cache-control": "no-store",
}
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


class AccessError(ValueError):
    """Keys that cannot be used as asked; the message says why and what to do."""


class Refused(Exception):
    """A request that is not answered: the HTTP `status`, and why in words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


class KeyBudget(Frozen):
    """What may be spent for a key in all: US dollars, answered calls, tokens; None for no bound of
    its own."""

    usd: float | None = Field(None, ge=0, allow_inf_nan=False)
    calls: int | None = Field(None, ge=0)
    tokens: int | None = Field(None, ge=0)

    @property
    def stated(self) -> dict[str, float]:
        """The bounds that there are."""
        return self.model_dump(exclude_none=True)


class BearerKey(Frozen):
    """One caller: the digest of a key, the tasks that it may ask for (empty: all), and what may be
    spent for it in all."""

    name: str
    sha256: str
    tasks: tuple[str, ...] = ()
    budget: KeyBudget = KeyBudget()
    made_at: str = Field(default_factory=now)


class Keys(Frozen):
    """What the file of keys holds."""

    keys: tuple[BearerKey, ...] = ()


@dataclass
class KeyFile:
    """The keys of a server, in a file that its owner alone reads and writes."""

    path: Path
    _read: tuple[tuple[int, int, int], Keys] | None = field(default=None, repr=False)
    _seen: bool = False

    @property
    def needed(self) -> bool:
        """Whether a key is needed: a file of keys is there, or was since the process began."""
        self._seen = self._seen or self.path.exists()
        return self._seen

    def keys(self) -> tuple[BearerKey, ...]:
        """All keys; none where there is no file. Blocks on the file system.

        Raises AccessError at a file that others may write, and at one that cannot be read.
        """
        try:
            found = self.path.stat()
            if found.st_mode & 0o022:
                raise AccessError(
                    f"{self.path} can be written by others, who could let themselves in: "
                    f"chmod 600 {self.path}"
                )
            stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
            if self._read is None or self._read[0] != stamp:
                self._read = stamp, Keys.model_validate_json(self.path.read_bytes())
            return self._read[1].keys
        except FileNotFoundError:
            return ()
        except (OSError, ValidationError) as error:
            said = error.strerror if isinstance(error, OSError) else "it holds no keys of ours"
            raise AccessError(f"{self.path} cannot be read: {said}") from error

    def named(self, name: str) -> BearerKey:
        """The key of this name. Raises AccessError."""
        for key in self.keys():
            if key.name == name:
                return key
        there_are = ", ".join(key.name for key in self.keys()) or "none"
        raise AccessError(f"there is no key {name}; there are {there_are}")

    def of(self, secret: str) -> BearerKey | None:
        """Whose key this is; takes as long whether and where it is found."""
        digest, found = _digest(secret), None
        for key in self.keys():
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found

    def add(
        self, name: str, tasks: Sequence[str] = (), budget: Mapping[str, float | None] | None = None
    ) -> str:
        """A new key under this name: the one time that it can be seen. Raises AccessError."""
        if not KEY_NAME.fullmatch(name):
            raise AccessError(
                f"{name!r} is no name for a key: lower-case letters, digits, - and _, 40 at most"
            )
        try:
            bounds = KeyBudget.model_validate(budget or {})
        except ValidationError as error:
            raise AccessError("a budget is a number from 0 on") from error
        secret = KEY_BEGINS + secrets.token_urlsafe(RANDOM_BYTES)
        made = BearerKey(name=name, sha256=_digest(secret), tasks=tuple(tasks), budget=bounds)
        with self._alone():
            known = self.keys()
            if name in (key.name for key in known):
                raise AccessError(f"there is a key {name} already; remove it, or take another name")
            self._write([*known, made])
        return secret

    def remove(self, name: str) -> None:
        """Lets nobody in by this key any more. Raises AccessError."""
        with self._alone():
            gone = self.named(name)
            self._write([key for key in self.keys() if key != gone])

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One at a time: two that add at once would lose one of the keys."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise AccessError(f"{self.path} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _write(self, keys: Sequence[BearerKey]) -> None:
        """All of it or nothing, and for the owner's eyes alone from the first byte on."""
        draft = self.path.with_suffix(".draft")
        held = Keys(keys=tuple(keys)).model_dump(mode="json")
        draft.unlink(missing_ok=True)
        with open(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(json.dumps(held, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)


def key_file() -> KeyFile:
    """The keys of the server that would be started here."""
    beside = Path(os.environ.get(*SERVED_RUN)).with_name("keys.json")
    return KeyFile(Path(os.environ.get(KEYS_FILE) or beside))


def admitted(scope: Mapping[str, Any], keys: KeyFile) -> BearerKey | None:
    """Whose key a request (an ASGI scope) carries; None where none is needed.

    Blocks on the file of keys. Raises Refused.
    """
    headers = {name.decode("latin-1"): said.decode("latin-1") for name, said in scope["headers"]}
    safe = scope.get("method", "GET") in ("GET", "HEAD")
    try:
        if not keys.needed:
            _local_alone(scope, headers)
            return None
        key = keys.of(_secret(headers, safe))
    except AccessError as error:
        raise Refused(503, "The keys of this server cannot be read; its log says why.") from error
    asked = scope["path"].removeprefix(scope.get("root_path", ""))
    if key or (safe and asked in LIVENESS):
        return key
    if "authorization" in headers:
        raise Refused(401, "This key is not known here.")
    raise Refused(401, "A key is needed here: send it as `Authorization: Bearer KEY`.")


def _secret(headers: Mapping[str, str], safe: bool) -> str:
    """What is said to be a key. Browsers send theirs as a password, with whatever page asks: it
    counts where nothing is changed, or where the asking page is ours."""
    kind, _, said = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return said.strip()
    ours = headers.get("origin", "").partition("://")[2] == headers.get("host", "/")
    if kind.lower() == "basic" and (safe or ours):
        try:
            return b64decode(said, validate=True).decode().partition(":")[2]
        except ValueError:
            return ""
    return ""


def _local_alone(scope: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    """Raises Refused where a request comes from elsewhere, or on behalf of somebody elsewhere."""
    ends = [end[0] for end in (scope.get("server"), scope.get("client")) if end]
    forwarded = [name for name in FORWARDED if name in headers]
    try:
        name = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    except ValueError:
        name = ""
    if not ends or forwarded or not all(map(loopback, [*ends, name])):
        raise Refused(
            403,
            "This server has no keys, so it answers on loopback alone, under a loopback name. "
            "`autodata keys add NAME` makes a key.",
        )


def loopback(host: str) -> bool:
    """Whether an address or a name is this machine's own, and nobody else's."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_listening(argv: Sequence[str], environ: Mapping[str, str], keys: KeyFile) -> None:
    """Raises AccessError where a server without keys is about to listen for others.

    LangGraph's development server says in LANGGRAPH_API_URL where it is reached, uvicorn is told on
    its command line or by UVICORN_HOST. What cannot be known now is refused request by request.
    """
    stated = [urlsplit(environ.get("LANGGRAPH_API_URL", "")).hostname, environ.get("UVICORN_HOST")]
    for at, word in enumerate(argv):
        name, _, value = word.partition("=")
        if name == "--host":
            stated.append(value or "".join(argv[at + 1 : at + 2]))
    if not keys.needed and (open_to := [host for host in stated if host and not loopback(host)]):
        raise AccessError(
            f"without keys a server is for this machine alone, and this one would listen on "
            f"{open_to[0]}: make a key with `autodata keys add NAME`, or listen on 127.0.0.1"
        )
    keys.keys()


class OnlyAdmitted:
    """Refuses in words, before anything else is done, whoever is not admitted: also where
    LangGraph's own hook is not asked, as for the description of its routes.

    Preflights of browsers carry no key, and are answered by what stands before the routes; what the
    server asks of itself comes with a root path that no request can have.
    """

    def __init__(self, app: ASGIApp, keys: KeyFile) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = None
        if scope["type"] != "lifespan" and not _internal(scope):
            refused = await run_in_threadpool(_refused, scope, self._keys)
        if refused is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refused.words})
        else:
            headers = {"access-control-allow-origin": "*", "cache-control": "no-store"}
            if refused.status == 401:
                headers["www-authenticate"] = 'Bearer realm="autodata", Basic realm="autodata"'
            answer = JSONResponse({"detail": refused.words}, refused.status, headers)
            await answer(scope, receive, send)


class Guarded:
    """Lets in who asks for our name from a page of ours, and says what pages may do.

    A foreign page could otherwise read the board: by a name of its own that leads to this machine,
    or where the server around it permits requests from everywhere.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if scope["type"] != "http":
            return
        refused = self._refused(Headers(scope=scope))
        answer = Response(refused, 403, media_type="text/plain") if refused else self._app
        await answer(scope, receive, with_headers)

    def _refused(self, headers: Headers) -> str:
        host, origin = headers.get("host", ""), headers.get("origin")
        try:
            name = urlsplit(f"//{host}").hostname or ""
            foreign = origin is not None and urlsplit(origin).netloc != host
        except ValueError:
            return "The board does not understand who is asked for."
        if self._hosts is not None and name not in self._hosts:
            return f"The board does not answer to this name; ask for {min(self._hosts)}."
        return "The board answers its own pages alone." if foreign else ""


def _internal(scope: Scope) -> bool:
    root: str = scope.get("root_path", "")
    return root == "/noauth" or root.startswith("/noauth/")


def _refused(scope: Scope, keys: KeyFile) -> Refused | None:
    try:
        admitted(scope, keys)
    except Refused as refused:
        names = {name for name, _ in scope["headers"]}
        asks_first = (
            scope.get("method") == "OPTIONS"
            and {
                b"origin",
                b"access-control-request-method",
            }
            <= names
        )
        return None if asks_first and refused.status == 401 else refused
    return None


def hook(keys: KeyFile) -> "Auth":
    """LangGraph's: who somebody is, and that threads, runs and assistants are their owner's.

    Without keys all is everybody's. With them what runs on its own (crons) and what no graph uses
    (the store) is closed.
    """
    from langgraph_sdk import Auth  # takes half a second to load, which commands need not wait

    auth = Auth()

    @auth.authenticate
    async def authenticate(scope: dict[str, Any]) -> Auth.types.MinimalUserDict:
        try:
            key = await run_in_threadpool(admitted, scope, keys)
        except Refused as refused:
            raise Auth.exceptions.HTTPException(
                status_code=refused.status, detail=refused.words
            ) from None
        return {"identity": key.name if key else "", "is_authenticated": key is not None}

    @auth.on
    async def owned(ctx: Auth.types.AuthContext, value: Any) -> Any:
        owner = ctx.user.identity
        if not owner:
            return not await run_in_threadpool(lambda: keys.needed)
        if ctx.resource not in ("threads", "assistants"):
            raise Auth.exceptions.HTTPException(
                status_code=403, detail=f"Keys open no {ctx.resource} on this server."
            )
        said = value.get("metadata") if isinstance(value, dict) else None
        if isinstance(said, dict) and ctx.action in ("create", "create_run", "update"):
            said.pop("created_by", None)  # what the server made is everybody's
            said["owner"] = owner
        if ctx.resource == "assistants" and ctx.action in ("read", "search"):
            everybodys = [{"owner": EVERYBODY}, {"created_by": "system"}]
            return {"$or": [{"owner": owner}, *everybodys]}
        return {"owner": owner}

    return auth


def _digest(secret: str) -> str:
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
