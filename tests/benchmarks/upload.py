"""A cache's archive sent in parts: how fast, and how much memory it takes. Prints one JSON line.

    python tests/benchmarks/upload.py [--mib 1024] [--concurrency 16]

The archive is one file that does not pack. The store is a process of its own, which throws away what it gets; the
helper's memory is the kernel's count for that one process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MIB = 2**20
_BEGUN = b"<InitiateMultipartUploadResult><UploadId>one</UploadId></InitiateMultipartUploadResult>"


class Store(BaseHTTPRequestHandler):
    """What the helper asks of S3, and nothing more."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Begin an upload, or end it."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._say(_BEGUN if "uploads=" in self.path else b"<CompleteMultipartUploadResult/>")

    def do_PUT(self) -> None:
        """Take a part."""
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, MIB)))
        self._say(b"")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("ETag", '"of-a-part"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve() -> None:
    """Be the store, on a port that is printed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    print(server.server_port, flush=True)
    server.serve_forever()


def measure(work: Path, port: int, *, mib: int, concurrency: int) -> dict[str, object]:
    """Pack and send."""
    with (work / "blob").open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(MIB))
    url = f"s3://bucket/key?endpoint=http%3A%2F%2F127.0.0.1%3A{port}&region=r&use_path_style=true"
    flags = ("--file", "cache/cache.zip", "--path", "blob", "--gocloud-url", url, "--timeout", "60")
    more = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", "CACHE_COMPRESSION_LEVEL": "fastest"}
    more |= {"CACHE_CONCURRENCY": str(concurrency)}
    command = [sys.executable, "-m", "runner.helper", "cache-archiver", *flags]
    with (work / "said").open("wb") as said:
        started = time.monotonic()
        helper = subprocess.Popen(command, cwd=work, env={**os.environ, **more}, stderr=said)
        _, status, used = os.wait4(helper.pid, 0)
        spent = time.monotonic() - started
    helper.returncode = os.waitstatus_to_exitcode(status)
    if helper.returncode:
        raise SystemExit((work / "said").read_text())
    return {
        "benchmark": "upload",
        "mib": mib,
        "concurrency": concurrency,
        "pack_and_send_s": round(spent, 2),
        "helper_peak_rss_mib": round(used.ru_maxrss / 1024, 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    store = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert store.stdout is not None
        port = int(store.stdout.readline())
        with tempfile.TemporaryDirectory(prefix="upload-") as folder:
            print(json.dumps(measure(Path(folder), port, mib=options.mib, concurrency=options.concurrency)))
    finally:
        store.terminate()
        store.wait()


if __name__ == "__main__":
    main()
