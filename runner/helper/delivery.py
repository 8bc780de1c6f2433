"""Scripts on their way into the pod: parts come in by `put`, a whole file is renamed into place by `seal`.

Law: a file is there whole and checked or not at all. Everything may be sent again from part 0 at any time.
"""

import binascii
import os
import zlib

_GZIP = 31
_MODE = 0o777  # the build container may run as another user than the helper


class DeliveryError(ValueError):
    """The file did not arrive whole: send it again from its first part."""


class _Arriving:
    __slots__ = ("inflated", "next_index", "unpacker")

    def __init__(self) -> None:
        self.next_index = 0
        self.unpacker = zlib.decompressobj(_GZIP)
        self.inflated = bytearray()


class Delivery:
    """The scripts volume, and the one file that is arriving."""

    def __init__(self, scripts: str) -> None:
        self._scripts = scripts
        self._name = ""
        self._arriving = _Arriving()

    def put(self, name: str, index: int, encoded: str) -> None:
        """Take part `index` of a file; 0 begins anew, a part out of order is left out and found missing by `seal`."""
        if index == 0:
            self._name, self._arriving = name, _Arriving()
        arriving = self._arriving
        if name != self._name or index != arriving.next_index:
            return
        try:
            arriving.inflated += arriving.unpacker.decompress(binascii.a2b_base64(encoded))
            arriving.next_index += 1
        except (binascii.Error, zlib.error):
            self._name = ""

    def seal(self, name: str, digest: str) -> None:
        """Put the file in place when its SHA-256 is `digest`, or find it there already. Raises DeliveryError."""
        import hashlib  # loads OpenSSL, which the agent's start need not wait for

        path = f"{self._scripts}/{name}"
        text = bytes(self._arriving.inflated) if name == self._name else b""
        if name != self._name or hashlib.sha256(text).hexdigest() != digest:
            if _digest(path) != digest:
                raise DeliveryError(name)
            return
        part = f"{self._scripts}/.{name}.part"
        with open(part, "wb") as file:
            file.write(text)
        os.chmod(part, _MODE)
        os.rename(part, path)
        self._name, self._arriving = "", _Arriving()


def _digest(path: str) -> str:
    import hashlib

    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return ""
