"""`runner rbac`: the least rights that a config.toml needs in its clusters, as YAML; or what of them is missing."""

from __future__ import annotations

import click

from runner.cli.local_log import wants_colour
from runner.cli.pod_inputs import Trouble, config_path, read_config_file
from runner.cli.rbac_text import Names, groups, rbac_text, runner_needs
from runner.config.keys import nearest
from runner.job.feature_flags import FLAGS


@click.command("rbac")
@click.option("-c", "--config", type=click.Path(dir_okay=False), help="Configuration file.  [env: CONFIG_FILE]")
@click.option("--runner", metavar="NAME", help="Of this runner alone.")
@click.option("--namespace", help="Namespace of the service account; that of the first Role if left out.")
@click.option("--service-account", default="runner", show_default=True, help="Whom the rights are given to.")
@click.option("--name", default="runner", show_default=True, help="Name of the Roles and their bindings.")
@click.option("--feature-flag", "flags", multiple=True, metavar="NAME", help="One that jobs may turn on themselves.")
@click.option("--job-ports", is_flag=True, help="Images of jobs may name `ports`.")
@click.option("--job-service-logs", is_flag=True, help="Jobs may set CI_DEBUG_SERVICES.")
@click.option("--check", is_flag=True, help="Ask the cluster what of this is missing.")
@click.option("--kubeconfig", type=click.Path(dir_okay=False), help="With --check, for runners that name no `host`.")
@click.option("--no-color", is_flag=True, help="Plain output.  [env: NO_COLOR]")
def command(
    *,
    config: str | None,
    runner: str | None,
    namespace: str | None,
    service_account: str,
    name: str,
    flags: tuple[str, ...],
    job_ports: bool,
    job_service_logs: bool,
    check: bool,
    kubeconfig: str | None,
    no_color: bool,
) -> int:
    """Print the least Roles that a config.toml needs, with the key that needs each rule.

    \b
    Examples:  runner rbac --config config.toml | kubectl apply -f -
               runner rbac --config config.toml --check --kubeconfig ~/.kube/config

    With --check nothing is printed but what the credentials in use may not do. Exit code 1 if something is missing, 2
    if it cannot be told.
    """
    _check_flags(flags)
    file = read_config_file(config_path(config))
    needs = runner_needs(file, name=runner, job_flags=flags, job_ports=job_ports, job_service_logs=job_service_logs)
    if not needs:
        raise Trouble(f'{file.name} has no runner with executor = "kubernetes".')
    found = groups(needs)
    if check:
        from runner.cli.rbac_check import check_rights

        return check_rights(file, found, kubeconfig=kubeconfig, colour=wants_colour(no_color=no_color))
    click.echo(rbac_text(file, found, Names(role=name, account=service_account, account_namespace=namespace)), nl=False)
    return 0


def _check_flags(flags: tuple[str, ...]) -> None:
    for name in flags:
        if name not in FLAGS:
            raise Trouble(f"there is no feature flag {name}{nearest(name, FLAGS)}.")
