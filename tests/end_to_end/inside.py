"""What a job's containers see of themselves, read by the job's own script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.testing.gitlab_jobs import JobRecord
    from runner.testing.harness import Harness
    from tests.end_to_end.targets import Cluster

NO_SOURCES = {"GIT_STRATEGY": "none"}

STATUS = """
for _key in NoNewPrivs Seccomp CapBnd CapEff; do
echo "@$1.$_key=$(sed -n "s/^$_key:[[:space:]]*//p" /proc/self/status)"
done
echo "@$1.uid=$(id -u)"; echo "@$1.gid=$(id -g)"; echo "@$1.groups=$(id -G)"
echo "@$1.root=$(sed -n 's/^[^ ]* [^ ]* [^ ]* [^ ]* \\/ \\(r[ow]\\)[, ].*/\\1/p' /proc/self/mountinfo)"
"""
"""Prints what the kernel says of a process, each line behind the container's name."""


def status_of(container: str) -> str:
    """Commands that print the status of a process of a container."""
    return STATUS.replace("$1", container)


def seen(job: JobRecord) -> dict[str, str]:
    """What the lines `@key=value` of a job's log say; a key without a value is one with an empty one."""
    lines = (line[1:] for line in job.text.splitlines() if line.startswith("@"))
    return {key: value for key, _, value in (line.partition("=") for line in lines)}


async def look(h: Harness, *commands: str, sources: bool = False, **over: Any) -> dict[str, str]:
    """Run a job that has to succeed, and return what it saw; with `sources` the helper has something to do."""
    variables = dict(over.pop("variables", {}))
    if sources:
        over["repository"] = await h.gitlab.create_repository("acme/demo", files={"hello.txt": "hello\n"})
    else:
        variables = {**NO_SOURCES, **variables}
    job = await h.run(script=list(commands), variables=variables, **over)
    assert job.state == "success", job.text
    return seen(job)


def service(cluster: Cluster, *commands: str, **over: Any) -> dict[str, Any]:
    """A service that writes what its commands print to the builds directory, which it shares with the job."""
    text = "\n".join(commands)
    command = [
        "sh",
        "-c",
        f"{{ {text}\n}} >/builds/service.new 2>&1; mv /builds/service.new /builds/service; sleep 600",
    ]
    return {
        "name": cluster.busybox_image,
        "alias": "witness",
        "entrypoint": command[:2],
        "command": command[2:],
        **over,
    }


AWAIT_SERVICE = "for _i in 1 2 3 4 5 6 7 8 9 10; do [ -e /builds/service ] && break; sleep 1; done; cat /builds/service"
