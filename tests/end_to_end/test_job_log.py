"""A job's whole log, byte by byte, as GitLab stores it: what the runner says around what the job prints.

Times, names that are made anew for each job and this machine's own are replaced; everything else is literal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from runner.testing.faults import FaultRule, Reply
from runner.testing.payloads import image, variable

if TYPE_CHECKING:
    from runner.testing.gitlab_jobs import JobRecord
    from tests.end_to_end.targets import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.only_on("embedded")]

PLAIN = {"GIT_STRATEGY": "none"}
C, R, G, Y, E = "\x1b[36;1m", "\x1b[0;m", "\x1b[32;1m", "\x1b[0;33m", "\x1b[31;1m"
CLEAR, GREY = "\x1b[0K", "\x1b[0;37m"
VARYING = (
    (r"(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z ", ""),
    (r"(section_(?:start|end)):\d+:", r"\1:T:"),
    (r"runner-ab3defgh1-project-42-concurrent-0-\w{8}", "POD"),
    (r"(Running on POD via )\S+\.\.\.", r"\1HOST..."),
    (r"Running with runner \S+ \(\S+\)", "Running with runner VERSION (REVISION)"),
    (r"/tmp/runner-\w+", "FOLDER"),
    (r"Checking out [0-9a-f]{8} ", "Checking out COMMIT "),
    # A pod that starts slowly is told of in more states.
    (rf"(?m)(?:^00O {re.escape(CLEAR)}(?:Waiting for pod |\t).*\n)+", f"00O {CLEAR}Waiting for pod default/POD{R}\n"),
    # What a shell says of its end, and how far the wait for a port had come: a matter of moments.
    (r"(?m)^01O (?:Terminated|waiting for TCP .*|dialing .*)\n", ""),
    (r"correlation_id\x1b\[0;m=\w+", "correlation_id\x1b[0;m=ID"),
)


def normal(job: JobRecord) -> str:
    """A job's log without what is never the same."""
    text = job.trace.decode()
    for pattern, word in VARYING:
        text = re.sub(pattern, word, text)
    return text


def unordered(text: str) -> list[str]:
    """A log's lines without their order, and so without the flag of those that go on from the one before."""
    return sorted(re.sub(r"^(0[0-9a-f]O)[ +]", r"\1 ", line) for line in text.splitlines())


def stage(name: str, title: str, *lines: str, first: bool = False, ended: bool = True) -> str:
    """A section of the log. Its beginning goes on from the end of the one before, its title from that."""
    flag = " " if first else "+"
    text = f"00O{flag}section_start:T:{name}\r{CLEAR}\n00O+{CLEAR}{C}{title}{R}{R}\n" + "".join(lines)
    return text + (f"00O section_end:T:{name}\r{CLEAR}\n" if ended else "")


def own(*lines: str) -> str:
    """Lines of the runner's own, without colour."""
    return "".join(f"00O {CLEAR}{line}{R}\n" for line in lines)


def out(*lines: str) -> str:
    """What a stage prints, and the runner's newline behind it."""
    return "".join(f"01O {line}\n" for line in (*lines, ""))


HEADER = own("Running with runner VERSION (REVISION)", "  on harness Ab3dEfGh1, system ID: r_testharness0")
USING = own(
    "Using Kubernetes namespace: default",
    "Using Kubernetes executor with image busybox:latest ...",
    "Using attach strategy to execute scripts...",
    "Using effective pull policy of [] for container build",
    "Using effective pull policy of [] for container helper",
)
DEADLINE = own(
    "Using FF_USE_POD_ACTIVE_DEADLINE_SECONDS, the Pod activeDeadlineSeconds will be set to the job timeout: 1h0m0s..."
)
WAITING = own("Waiting for pod default/POD")
EXECUTOR = ("prepare_executor", 'Preparing the "kubernetes" executor')
PREPARED = HEADER + stage(*EXECUTOR, USING, DEADLINE, WAITING, first=True)
BEFORE = (
    PREPARED
    + stage("prepare_script", "Preparing environment", out(f"{R}Running on POD via HOST...{R}"))
    + stage(
        "get_sources",
        "Getting source from Git repository",
        out(
            f"{G}Skipping Git repository setup{R}",
            f"{G}Skipping Git checkout{R}",
            f"{G}Skipping Git submodules setup{R}",
        ),
    )
)
CLEANUP = stage("cleanup_file_variables", "Cleaning up project directory and file based variables", out())
CANCELED = f"00O+{Y}WARNING: script canceled externally (UI, API){R}\n"
TIMED_OUT = (
    f"00O+{Y}WARNING: step_script could not run to completion because the timeout was exceeded. For more control over "
    "job and script timeouts see: https://docs.gitlab.com/ci/runners/configure_runners/"
    f"#set-script-and-after_script-timeouts{R}\n"
)
BEGUN = ["echo begun", "sleep 600"]


def script(*lines: str) -> str:
    """The job's own script."""
    return stage("step_script", 'Executing "step_script" stage of the job script', *lines)


def after(status: str, *, first: bool = False) -> str:
    """An after_script that says what it is told."""
    lines = out(f"{G}Running after script...{R}", f"{G}$ echo $CI_JOB_STATUS{R}", status)
    return stage("after_script", "Running after_script", lines, first=first)


@dataclass(frozen=True)
class Case:
    """A job and its whole log."""

    log: str
    job: dict[str, Any]
    cancel: bool = False
    unordered: bool = False
    """Two things end at once, and either may be told first."""
    refuse_pods: bool = False
    runner: dict[str, Any] = field(default_factory=dict)


BEGAN = out(f"{G}$ echo begun{R}", "begun", f"{G}$ sleep 600{R}")
CASES = {
    "success": Case(
        BEFORE
        + script(out(f"{G}$ echo one{R}", "one", f"{G}$ for i in 2; do # collapsed multi-line command{R}", "2"))
        + after("success")
        + CLEANUP
        + f"00O {G}Job succeeded{R}\n",
        {"script": ["echo one", "for i in 2; do\n  echo $i\ndone"], "after_script": ["echo $CI_JOB_STATUS"]},
    ),
    "failure, behind a line without an end": Case(
        BEFORE
        + script(out(f"{G}$ false || printf half; exit 3{R}", "half")[: -len("01O \n")])
        + CLEANUP
        + f"00O {E}ERROR: Job failed: command terminated with exit code 3{R}\n",
        {"script": ["false || printf half; exit 3"]},
    ),
    "cancel": Case(
        BEFORE
        + script(BEGAN)
        + CANCELED
        + after("canceled", first=True)
        + CLEANUP
        + f"00O {E}ERROR: Job failed: canceled{R}\n",
        {"script": BEGUN, "after_script": ["echo $CI_JOB_STATUS"]},
        cancel=True,
    ),
    "script's timeout": Case(
        BEFORE
        + script(BEGAN)
        + TIMED_OUT
        + after("timedout", first=True)
        + CLEANUP
        + f"00O {E}ERROR: Job failed: script timeout: context deadline exceeded{R}\n",
        {
            "script": BEGUN,
            "after_script": ["echo $CI_JOB_STATUS"],
            "variables": {**PLAIN, "RUNNER_SCRIPT_TIMEOUT": "1s"},
        },
    ),
    "job's timeout": Case(
        BEFORE.replace("1h0m0s", "6s")
        + script(BEGAN[: -len("01O \n")])
        + f"00O {E}ERROR: Job failed: execution took longer than 6s seconds{R}\n",
        {"script": BEGUN, "after_script": ["echo $CI_JOB_STATUS"], "timeout": 6},
    ),
    "system failure": Case(
        HEADER
        + stage(*EXECUTOR, USING, DEADLINE, first=True)
        + f"00O {E}ERROR: Job failed (system failure): Cannot create pods default/POD: the server gave no message "
        + f"(403) (`[runners.kubernetes]` needs a service account with this right){R}\n",
        {},
        refuse_pods=True,
    ),
    "service": Case(
        HEADER
        + stage(
            *EXECUTOR,
            USING,
            own("Using effective pull policy of [] for container db"),
            DEADLINE,
            WAITING,
            own('Waiting for service "db" (db:1) on port 9 ...'),
            stage(
                "health_check",
                "Waiting for services",
                f'00O {Y}WARNING: The service "db" (db:1) ended with exit code 7 (Error){R}\n',
                f"0fO {GREY}Its last lines:{R}\n0fO {GREY}no space left{R}\n",
                out(),
                first=True,
            ),
            first=True,
        )
        + f'00O+{E}ERROR: Job failed: the service "db" (db:1) ended before it took connections on port 9: '
        + f"Error in container db: exit code: 7, reason: 'Error'{R}\n",
        {
            "services": [
                image(
                    "db:1",
                    alias="db",
                    entrypoint=["sh", "-c", "echo no space left; exit 7"],
                    variables=[variable("HEALTHCHECK_TCP_PORT", "9")],
                )
            ]
        },
        unordered=True,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_the_whole_log(cluster: Cluster, case: Case) -> None:
    """Header, sections with their titles, what is printed, and how it ended: nothing is missing and nothing is more."""
    async with cluster.harness(keep_alive_interval=0.2) as h:
        assert h.cluster is not None
        if case.refuse_pods:
            h.cluster.faults.add(FaultRule("POST", "/pods$", Reply(403), times=2))
        job = h.queue(**{"variables": PLAIN, **case.job})
        if case.cancel:
            await job.wait(lambda record: "begun" in record.text.splitlines(), timeout=30)
            job.cancel()
        await job.wait_finished(timeout=60)
        assert h.gitlab.violations == []
    if case.unordered:
        assert unordered(normal(job)) == unordered(case.log)
    else:
        assert normal(job).splitlines() == case.log.splitlines()


async def test_a_log_that_is_too_long_ends_with_the_notice_and_the_result(cluster: Cluster) -> None:
    """It is cut at the limit, in the middle of a line; what comes later is lost but for the job's end."""
    async with cluster.harness(runner={"output_limit": 2}) as h:
        job = await h.run(script=["i=0; while [ $i -lt 500 ]; do echo $i; i=$((i+1)); done"], variables=PLAIN)
    assert job.state == "success"
    kept, notice, rest = job.trace.partition(b"\n\x1b[33;1mJob's log exceeded limit of 2048 bytes.\n")
    assert len(kept) == 2048
    assert notice
    told = b"The job goes on, but no more of its output is kept.\x1b[0;m\n"
    assert rest.startswith(told)
    assert re.fullmatch(rb"\S+Z 00O \x1b\[32;1mJob succeeded\x1b\[0;m\n", rest.removeprefix(told))
