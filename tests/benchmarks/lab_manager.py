"""A manager that counts its requests and measures its event loop, for what cannot be seen from outside.

The same parts as `runner run`, put together with observers. Prints a line of JSON when it is ready, and one about the
time since the last at each USR1: requests by verb and resource, and the event loop's lag.
"""

from __future__ import annotations

import argparse
import json
import signal
import time
from collections import Counter

import anyio

from runner.config.load import parse_config
from runner.manager.assemble import Observers, assemble
from runner.manager.collector import settle
from runner.manager.logging import setup_logging


class Probe:
    """What is counted."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.lags: list[float] = []
        self.own: list[float] = []

    def count(self, verb: str, resource: str, _status: int, _seconds: float) -> None:
        """Take one request."""
        self.requests[f"{verb} {resource}"] += 1

    async def watch_loop(self, interval: float) -> None:
        """Sleep again and again and note how much too late the loop comes back, and how much of that it worked itself.

        The rest is other processes': on a machine with few cores nobody runs when he wants to.
        """
        while interval:
            due, worked = anyio.current_time() + interval, time.thread_time()
            await anyio.sleep(interval)
            lag = max(0.0, anyio.current_time() - due)
            self.lags.append(lag)
            self.own.append(min(lag, time.thread_time() - worked))

    def report(self) -> str:
        """Give what was counted and begin anew."""
        words = {
            "requests": dict(self.requests),
            "lag_p50_ms": _percentile(self.lags, 50),
            "lag_p99_ms": _percentile(self.lags, 99),
            "lag_max_ms": _percentile(self.lags, 100),
            "own_lag_p99_ms": _percentile(self.own, 99),
            "own_lag_max_ms": _percentile(self.own, 100),
        }
        self.requests.clear()
        self.lags.clear()
        self.own.clear()
        return json.dumps(words)


def _percentile(seconds: list[float], percent: int) -> float:
    """Give a percentile in milliseconds."""
    ordered = sorted(seconds) or [0.0]
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1000, 1)


async def serve(options: argparse.Namespace) -> None:
    """Run jobs until TERM."""
    config, _ = parse_config(await anyio.Path(options.config).read_text(), file=options.config)
    setup_logging(level="warning", form=config.log_format)
    probe = Probe()
    manager = assemble(
        config,
        system_id="r_benchmark00",
        kubeconfig=options.kubeconfig,
        observers=Observers(gitlab=probe.count, kubernetes=probe.count),
    )
    settle()
    async with anyio.create_task_group() as group:
        group.start_soon(probe.watch_loop, options.lag_interval)

        async def listen() -> None:
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGUSR1) as signals:
                print(json.dumps({"ready": True}), flush=True)
                async for number in signals:
                    if number == signal.SIGUSR1:
                        print(probe.report(), flush=True)
                    else:
                        manager.abort()

        group.start_soon(listen)
        await manager.serve()
        group.cancel_scope.cancel()


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True)
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--lag-interval", type=float, default=0.0)
    anyio.run(serve, parser.parse_args())


if __name__ == "__main__":
    main()
