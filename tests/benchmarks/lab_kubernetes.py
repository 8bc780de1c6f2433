"""The embedded Kubernetes as a process of its own, with pods whose stages are scripted.

Prints one line of JSON when it is ready, and serves until TERM. `--lines N` lets the step print a line every
`--interval` seconds, `--blocks N` lets it print N numbered blocks of `log.py` at once.
"""

from __future__ import annotations

import argparse
import json
import signal

import anyio
from blocks import blocks

from runner.testing.kubelets import Fate, Script, ScriptedKubelet
from runner.testing.kubernetes import KubernetesServer


async def serve(options: argparse.Namespace) -> None:
    """Serve until TERM."""
    output: list[tuple[float, bytes]] = [
        (options.interval, b"line %d of a job that prints one a while\n" % number) for number in range(options.lines)
    ]
    output += [(0.0, block) for block in blocks(options.blocks)]
    kubelet = ScriptedKubelet(Fate(stages={"step_script": Script(output=output)}))
    async with KubernetesServer(kubelet) as server:
        server.kubeconfig(options.kubeconfig)
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            print(json.dumps({"url": server.url}), flush=True)
            async for _ in signals:
                return


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", required=True, help="where to write it")
    parser.add_argument("--lines", type=int, default=0)
    parser.add_argument("--interval", type=float, default=1.0)
    parser.add_argument("--blocks", type=int, default=0)
    anyio.run(serve, parser.parse_args())


if __name__ == "__main__":
    main()
