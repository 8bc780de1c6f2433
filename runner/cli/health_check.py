"""`runner health-check`: the helper's command under the name that scripts of the original know."""

from __future__ import annotations

import click


@click.command("health-check", context_settings={"ignore_unknown_options": True})
@click.argument("flags", nargs=-1, type=click.UNPROCESSED)
def command(flags: tuple[str, ...]) -> int:
    """Wait until the service that --port or the environment names answers, as in a helper container.

    \b
    Example:  SERVICE_TCP_ADDR=db SERVICE_TCP_PORT=5432 runner health-check
    """
    from runner.helper.__main__ import main

    return main(["health-check", *flags])
