"""An S3 for tests: moto's, behind a door that looks at signatures as Amazon's does, which moto does not."""

from __future__ import annotations

import threading
import time
from calendar import timegm
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote
from urllib.request import Request, urlopen

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

ACCESS_KEY, SECRET_KEY = "AKIDTEST", "s3cret-of-the-store"
SESSION_TOKEN = "t0ken-of-a-role"
BUCKET = "runner-cache"
REGION = "eu-central-1"

_REFUSED = (
    b"<?xml version='1.0'?><Error><Code>SignatureDoesNotMatch</Code>"
    b"<Message>The request signature we calculated does not match.</Message></Error>"
)
_SESSION = (
    "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}"
    "</SecretAccessKey><SessionToken>{}</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>"
    "</AssumeRoleResult></AssumeRoleResponse>"
)


@dataclass(frozen=True)
class Asked:
    """One request, as the door saw it."""

    method: str
    path: str
    status: int
    headers: dict[str, str] = field(repr=False)


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        """Say nothing."""


class S3:
    """The server, running in a thread while it is entered."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.requests: list[Asked] = []
        self.secret_key = SECRET_KEY
        self.policies: list[str] = []
        """What sessions of roles were bound to, in the order in which they were taken on."""
        self.refuse: Callable[[str, str], int] = lambda _method, _query: 0
        """A status to answer a signed request with instead, by its method and query; 0: what is asked for."""
        self._inner: Callable[..., Iterable[bytes]] = DomainDispatcherApplication(create_backend_app)
        self._server = make_server(host, 0, self._answer, threaded=True, request_handler=_Quiet)
        self.address = f"{host}:{self._server.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> S3:
        self._thread.start()
        self._inside("POST", "/moto-api/reset")
        self._inside("PUT", f"/{BUCKET}")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def cache(self, **s3: Any) -> dict[str, Any]:
        """A `[runners.cache]` for this server."""
        keys = {"AccessKey": ACCESS_KEY, "SecretKey": SECRET_KEY, "BucketName": BUCKET, "BucketLocation": REGION}
        return {"Type": "s3", "s3": {"ServerAddress": self.address, "Insecure": True, **keys, **s3}}

    def asked(self, method: str) -> list[tuple[str, int]]:
        """Path below the bucket and status of each request with this method."""
        return [(one.path.removeprefix(f"/{BUCKET}/"), one.status) for one in self.requests if one.method == method]

    def put(self, name: str, data: bytes) -> None:
        """Put something else under a name."""
        self._inside("PUT", f"/{BUCKET}/{name}", data)

    def _inside(self, method: str, path: str, data: bytes | None = None) -> bytes:
        owner = f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20310203/{REGION}/s3/aws4_request"
        makes_bucket = method == "PUT" and data is None  # with a region it would want a body that says the same
        headers = {"X-Inside": "yes", **({} if makes_bucket else {"Authorization": owner})}
        request = Request(f"http://{self.address}{path}", method=method, headers=headers, data=data)
        with urlopen(request, timeout=10) as reply:
            assert reply.status == 200
            return bytes(reply.read())

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("HTTP_X_INSIDE"):
            return self._inner(environ, start)
        asked = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
        if asked.get("Action") == "AssumeRole":
            self.policies.append(asked.get("Policy", ""))
            start("200 OK", [("Content-Type", "text/xml")])
            return [_SESSION.format(ACCESS_KEY, self.secret_key, SESSION_TOKEN).encode()]
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }

        def seen(status: str, *rest: Any) -> Any:
            code = int(status.split()[0])
            self.requests.append(Asked(environ["REQUEST_METHOD"], environ["PATH_INFO"], code, headers))
            return start(status, *rest)

        if not self._is_signed(environ, headers):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            seen("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(_REFUSED)))])
            return [_REFUSED]
        if status := self.refuse(environ["REQUEST_METHOD"], environ["QUERY_STRING"]):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            seen(f"{status} As The Test Says", [("Content-Length", "0")])
            return []
        return self._inner(environ, seen)

    def uploads(self) -> int:
        """How many uploads in parts have neither ended nor been taken back."""
        return self._inside("GET", f"/{BUCKET}?uploads").count(b"<UploadId>")

    def object(self, name: str) -> bytes:
        """What is stored under a name."""
        return self._inside("GET", f"/{BUCKET}/{name}")

    def _is_signed(self, environ: dict[str, Any], headers: dict[str, str]) -> bool:
        query, _, signature = environ["QUERY_STRING"].partition("&X-Amz-Signature=")
        given = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
        try:
            names = given["X-Amz-SignedHeaders"].split(";")
            moment, expiry = given["X-Amz-Date"], int(given["X-Amz-Expires"])
            region = given["X-Amz-Credential"].split("/")[2]
            signed = {name: headers[name] for name in names if name != "host"}
        except (KeyError, ValueError, IndexError):
            return False
        if {name for name in headers if name.startswith("x-amz-")} - set(names):
            return False  # Amazon takes no header of its own that is not signed
        path = quote(environ["PATH_INFO"].encode("latin-1"), safe="/-_.~")
        request = AWSRequest(environ["REQUEST_METHOD"], f"http://{headers['host']}{path}?{query}", headers=signed)
        request.context["timestamp"] = moment
        auth = S3SigV4QueryAuth(Credentials(ACCESS_KEY, self.secret_key), "s3", region, expires=expiry)
        text = auth.string_to_sign(request, auth.canonical_request(request))
        until = timegm(time.strptime(moment, "%Y%m%dT%H%M%SZ")) + expiry
        return bool(signature == auth.signature(text, request)) and time.time() < until
