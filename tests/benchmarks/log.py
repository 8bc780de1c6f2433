"""One job with a long log. Prints one JSON line.

    python tests/benchmarks/log.py [--kubeconfig PATH --host ADDRESS --helper-image IMAGE] [--mib 100]

The log that GitLab has stored is compared byte by byte with what the job printed, time stamps taken off.
"""

from __future__ import annotations

import hashlib
import json

from blocks import blocks, script
from lab import Place, lab, p50

from runner.trace.timestamps import strip_timestamps


def same_bytes(trace: bytes, count: int) -> bool:
    """Compare a stored log with the blocks that were printed."""
    plain = strip_timestamps(trace)
    expected, size = hashlib.sha256(), 0
    for block in blocks(count):
        expected.update(block)
        size += len(block)
    begin = plain.index(b"\n<<< block 1\n") + 1
    return hashlib.sha256(plain[begin : begin + size]).digest() == expected.digest()


def main() -> None:
    """Measure and print."""
    parser = Place.arguments(__doc__)
    parser.add_argument("--mib", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    place = Place.of(options)
    rounds: list[dict[str, float]] = []
    exact = True
    for _ in range(options.rounds):
        with lab(
            place, concurrent=1, runner={"output_limit": 1024 * 1024}, scripted=("--blocks", str(options.mib))
        ) as measured:
            manager = measured.manager
            # The embedded Kubernetes has one script for all jobs, so there the first job is as long as the second.
            measured.run(1, script=["true"], timeout=300)
            manager.forget_peak()
            before, cpu = manager.rss_mib, manager.cpu_seconds
            (job,) = measured.run(1, script=script(options.mib), timeout=300)
            rounds.append(
                {
                    "seconds": job.seconds,
                    "cpu_s": manager.cpu_seconds - cpu,
                    "rss_growth_mib": manager.peak_mib - before,
                }
            )
            exact = exact and same_bytes(measured.gitlab.trace(job.id), options.mib)
    result: dict[str, object] = {"benchmark": "log", "cluster": place.name, "mib": options.mib, "exact": exact}
    result |= {name: p50(row[name] for row in rounds) for name in rounds[0]}
    result["rounds"] = [{name: round(value, 2) for name, value in row.items()} for row in rounds]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
