"""How fast secrets are taken out of the log: prints one JSON line. Run `python tests/benchmarks/masker.py`.

Clean text in pieces of 64 KiB with 20 secrets is the case that counts: nearly every log has no secret in it.
"""

import json
import random
import time
from collections.abc import Callable

from runner.trace.masking import Masker

TEXT_BYTES = 32 << 20
PIECE_BYTES = 65536
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
WORDS = (
    "collecting downloading installed requirement already satisfied building wheel for running test passed failed "
    "error warning info debug src lib usr bin python node modules package index main single glob angle config unit "
    "https://registry.example.com/v2/group/project?ref=main && || -- --no-cache -p --verbose 0.12s 100% 3.11.4 12:30"
)


def text(size: int, choose: random.Random) -> bytes:
    """Lines as build tools write them."""
    words = WORDS.split()
    lines: list[str] = []
    length = 0
    while length < size:
        line = f"[{choose.randint(0, 99):2}%] " + " ".join(choose.choices(words, k=choose.randint(3, 12))) + "\n"
        lines.append(line)
        length += len(line)
    return "".join(lines).encode()[:size]


def rate(step: Callable[[bytes], object], pieces: list[bytes]) -> float:
    """Megabytes for each second of processor time, the best of three rounds."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        for piece in pieces:
            step(piece)
        best = min(best, time.process_time() - start)
    return round(sum(map(len, pieces)) / best / 1e6, 1)


def main() -> None:
    """Measure a few numbers of secrets and sizes of pieces."""
    choose = random.Random(1)
    data = text(TEXT_BYTES, choose)
    result = {}
    for count in (1, 20, 60, 200):
        secrets = ["".join(choose.choices(LETTERS, k=choose.randint(16, 40))).encode() for _ in range(count)]
        masker = Masker(secrets)
        for piece_bytes in (PIECE_BYTES, 4096, 200):
            part = data if piece_bytes > 1000 else data[: 2 << 20]
            pieces = [part[at : at + piece_bytes] for at in range(0, len(part), piece_bytes)]
            result[f"clean_{count}_secrets_{piece_bytes}_bytes_mb_s"] = rate(masker.feed, pieces)
        if count == 20:
            hit = [data[at : at + 16384] + secrets[0] for at in range(0, len(data), 16384)]
            result["hit_20_secrets_16384_bytes_mb_s"] = rate(masker.feed, hit)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
