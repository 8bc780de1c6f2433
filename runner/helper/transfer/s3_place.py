"""Where a bucket is, and how GitLab Runner writes that in a `--gocloud-url`.

Pure. The manager writes such addresses and the helper reads them; both ask here for the address of HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

DEFAULT_REGION = "us-east-1"
SCHEME = "s3"

_SAFE = "/-_.~"
_ENCRYPTION = "x-amz-server-side-encryption"
_ENCRYPTION_KEY = "x-amz-server-side-encryption-aws-kms-key-id"
_PLAIN_HTTP = ("disable_https", "disableSSL")
_PATH_STYLE = ("use_path_style", "s3ForcePathStyle")


@dataclass(frozen=True, slots=True)
class S3Place:
    """One bucket at its server."""

    bucket: str
    region: str
    endpoint: str = ""
    """`scheme://host[:port]`; empty: Amazon's own."""
    path_style: bool = False
    dual_stack: bool = False
    accelerate: bool = False

    @property
    def address(self) -> str:
        """The bucket's address of HTTP, with a slash at its end."""
        scheme, _, host = (self.endpoint or f"https://{self._amazon_host()}").partition("://")
        # No certificate is for a host with dots in the bucket's name.
        dotted = not self.endpoint and "." in self.bucket and not self.accelerate
        if self.path_style or dotted:
            return f"{scheme}://{host}/{quote(self.bucket, safe='-_.~')}/"
        return f"{scheme}://{self.bucket}.{host}/"

    def object_address(self, name: str) -> str:
        """The address of an object."""
        return self.address + quote(name, safe=_SAFE)

    def gocloud_url(self, name: str, *, headers: Mapping[str, str]) -> str:
        """The address of an object as GitLab Runner gives it to its helper; of the headers those of encryption."""
        words = {"awssdk": "v2", "region": self.region}
        if self.endpoint:
            words |= {"endpoint": self.endpoint, "hostname_immutable": "true"}
        flags = {"use_path_style": self.path_style, "dualstack": self.dual_stack, "accelerate": self.accelerate}
        words |= {flag: "true" for flag, given in flags.items() if given}
        for parameter, header in (("ssetype", _ENCRYPTION), ("kmskeyid", _ENCRYPTION_KEY)):
            if header in headers:
                words[parameter] = headers[header]
        return f"{SCHEME}://{self.bucket}/{quote(name, safe=_SAFE)}?{urlencode(sorted(words.items()))}"

    def _amazon_host(self) -> str:
        words = ["s3-accelerate"] if self.accelerate else ["s3"]
        words += ["dualstack"] if self.dual_stack else []
        words += [] if self.accelerate else [self.region]
        return ".".join(words) + (".amazonaws.com.cn" if self.region.startswith("cn-") else ".amazonaws.com")


def parse_gocloud_url(url: str, *, region: str = "") -> tuple[S3Place, str, dict[str, str]]:
    """Read the place, the object's name and an upload's headers from a `s3://` address. Raises ValueError."""
    parts = urlsplit(url)
    name = unquote(parts.path).lstrip("/")
    if parts.scheme != SCHEME or not parts.hostname or not name:
        raise ValueError("an address of S3 is s3://BUCKET/OBJECT")
    given = dict(parse_qsl(parts.query))

    def flag(*names: str) -> bool:
        return any(given.get(each, "").lower() == "true" for each in names)

    endpoint = given.get("endpoint", "").rstrip("/")
    if endpoint and "://" not in endpoint:
        endpoint = f"{'http' if flag(*_PLAIN_HTTP) else 'https'}://{endpoint}"
    place = S3Place(
        parts.netloc,
        given.get("region") or region or DEFAULT_REGION,
        endpoint,
        path_style=flag(*_PATH_STYLE),
        dual_stack=flag("dualstack"),
        accelerate=flag("accelerate"),
    )
    found = {_ENCRYPTION: given.get("ssetype", ""), _ENCRYPTION_KEY: given.get("kmskeyid", "")}
    return place, name, {header: value for header, value in found.items() if value}
