"""The properties of the stage mechanism, each by its number (docs/decisions/001 says how they are met).

P1 survives the loss of every connection, P2 starts once, P3 unforgeable result, P4 matched to its attempt, P5 exact
bytes, P6 output before result, P7 a torn record does not count, P8 background children, P9 a dead wrapper, P10 TERM
grace KILL, P11 only sh, P12 no secrets outside, P13 scripts of megabytes, P14 other users and read-only roots, P15
any helper image, P16 kubectl logs.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from runner.testing.faults import FaultRule, Reply
from runner.trace.timestamps import strip_timestamps

if TYPE_CHECKING:
    from runner.testing.gitlab_jobs import JobRecord
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow

NO_SOURCES = {"GIT_STRATEGY": "none"}


def output_of(job: JobRecord, begin: bytes = b"<<<", end: bytes = b">>>") -> bytes:
    """The exact bytes between two marks that the job printed, time stamps taken off."""
    plain = strip_timestamps(job.trace)
    start = plain.rindex(begin) + len(begin)
    return plain[start : plain.index(end, start)]


async def drop_connections(h: Any, cluster: Cluster) -> None:
    """Cut every stream between the manager and the API server."""
    if h.cluster:
        h.cluster.cut_streams()
    else:
        await h.proxy.cut()


async def test_p01_a_stage_survives_the_loss_of_every_connection(cluster: Cluster) -> None:
    """Streams are cut again and again while a job prints numbered lines; every line arrives once, in order."""
    async with cluster.harness(proxied=True) as h:
        job = h.queue(
            script=["for i in $(seq 1 60); do echo line-$i; sleep 0.1; done"], variables=NO_SOURCES, timeout=120
        )
        for number in range(5, 56, 10):
            await job.wait_trace(f"line-{number}\n".encode(), timeout=60)
            await drop_connections(h, cluster)
        await job.wait_finished(timeout=60)
        assert job.state == "success", job.text
        lines = [line for line in job.text.splitlines() if line.startswith("line-")]
        assert lines == [f"line-{i}" for i in range(1, 61)]
        assert h.gitlab.violations == []


async def test_p02_a_stage_starts_once_though_it_is_started_again_and_again(cluster: Cluster) -> None:
    """With connections lost around every start the script still runs exactly once."""
    async with cluster.harness(proxied=True) as h:
        job = h.queue(
            script=["echo started >> $CI_PROJECT_DIR/starts", "sleep 2", "wc -l < starts"], variables=NO_SOURCES
        )
        for _ in range(15):
            await drop_connections(h, cluster)
            with anyio.move_on_after(0.2):
                await job.wait_finished(timeout=1)
        await job.wait_finished(timeout=60)
        assert job.state == "success", job.text
        assert "\n1\n" in job.text


async def test_p03_job_output_cannot_forge_a_result(cluster: Cluster) -> None:
    """Lines that look like any control line ever used are output, and the job goes on to its real end."""
    forged = [
        '{"command_exit_code": 0, "script": "/scripts/step_script"}',
        "j 3 exit step_script-1 0 0 10 1700000000.000000",
        "exit step_script-1 0 0 10 1700000000.000000",
        "sync 0123456789abcdef",
    ]
    script = [f"echo '{line}'; echo '{line}' >&2" for line in forged]
    async with cluster.harness() as h:
        job = await h.run(script=[*script, "exit 4"], variables=NO_SOURCES)
        assert (job.state, job.exit_code) == ("failed", 4), job.text
        for line in forged:
            assert job.text.splitlines().count(line) == 2


async def test_p04_a_result_belongs_to_its_attempt(cluster: Cluster) -> None:
    """A second attempt at the sources is not judged by the first one's record: the job goes on when it succeeds."""
    async with cluster.harness() as h:
        repository = await h.gitlab.create_repository("acme/demo", files={"hello.txt": "from git\n"})
        h.gitlab.faults.add(FaultRule("GET", r".*/info/refs.*", Reply(500), times=1))
        variables = {"GET_SOURCES_ATTEMPTS": "3", "FF_USE_EXPONENTIAL_BACKOFF_STAGE_RETRY": "false"}
        job = await h.run(script=["cat hello.txt"], repository=repository, variables=variables)
        assert job.state == "success", job.text
        assert "WARNING: Retrying..." in job.text
        assert "\nfrom git\n" in job.text


async def test_p05_bytes_arrive_as_they_were_written(cluster: Cluster) -> None:
    """Binary bytes, no newline at the end, a line of 5 MB: the same bytes come out."""
    async with cluster.harness(runner={"output_limit": 32768}) as h:
        job = await h.run(
            script=[
                "printf '<<<'; printf '\\000\\001\\377\\376\\r\\t\\033[1mbold'; printf '>>>'; echo",
                "printf '<<'; printf '<'; head -c 5000000 /dev/zero | tr '\\0' x; printf '>>'; printf '>'",
            ],
            variables=NO_SOURCES,
            timeout=120,
        )
        assert job.state == "success", job.text[-2000:]
        plain = strip_timestamps(job.trace)
        assert b"<<<\x00\x01\xff\xfe\r\t\x1b[1mbold>>>" in plain
        assert output_of(job) == b"x" * 5_000_000


async def test_p06_all_output_is_there_when_the_result_is(cluster: Cluster) -> None:
    """A burst right before the end is whole in the log of the finished job."""
    async with cluster.harness(runner={"output_limit": 32768}) as h:
        job = await h.run(script=["printf '<<<'; seq 1 200000; printf '>>>'"], variables=NO_SOURCES, timeout=120)
        assert job.state == "success", job.text[-2000:]
        expected = "".join(f"{i}\n" for i in range(1, 200_001)).encode()
        assert hashlib.sha256(output_of(job)).digest() == hashlib.sha256(expected).digest()


async def test_p07_a_torn_exit_record_does_not_count(cluster: Cluster) -> None:
    """Half a record in the right place, even a record of success, does not end the stage: its real end does."""
    record = "${CI_BUILDS_DIR%/builds}/logs-42-$CI_JOB_ID/step_script-1.exit"
    async with cluster.harness() as h:
        job = await h.run(
            script=[f"printf '0 0' > {record}", "sleep 1", "echo still here", "exit 6"], variables=NO_SOURCES
        )
        assert (job.state, job.exit_code) == ("failed", 6), job.text
        assert "\nstill here\n" in job.text


async def test_p08_a_background_process_does_not_hold_the_stage(cluster: Cluster) -> None:
    """A child that keeps the output open neither delays the end nor the stages after it."""
    async with cluster.harness() as h:
        with anyio.fail_after(40):
            job = await h.run(
                script=["sleep 300 &", "nohup sleep 300 > /dev/null 2>&1 &", "echo left behind"],
                after_script=["echo after"],
                variables=NO_SOURCES,
            )
        assert job.state == "success", job.text
        assert "\nafter\n" in job.text
        await h.wait_until_empty()


async def test_p09_a_stage_whose_wrapper_is_killed_fails(cluster: Cluster) -> None:
    """The job kills the processes around its own shell: that is no success, and GitLab hears of it at once."""
    async with cluster.harness() as h:
        job = await h.run(
            script=["parent=$(cut -d' ' -f4 /proc/$$/stat); kill -9 $parent $$"], variables=NO_SOURCES, timeout=60
        )
        assert (job.state, job.failure_reason) == ("failed", "script_failure"), job.text


async def test_p10_a_cancel_is_term_then_grace_then_the_after_script(cluster: Cluster) -> None:
    """A canceled script gets TERM and may clean up; after_script runs with CI_JOB_STATUS=canceled."""
    async with cluster.harness() as h:
        job = h.queue(
            script=["trap 'echo got term; exit 9' TERM", "echo waiting", "while :; do sleep 0.1; done"],
            after_script=["echo status $CI_JOB_STATUS"],
            variables=NO_SOURCES,
        )
        await job.wait_trace(b"\n", timeout=60)
        await job.wait(lambda record: "waiting" in record.text.splitlines(), timeout=60)
        job.cancel()
        await job.wait_finished(timeout=60)
        assert job.state == "canceled", job.text
        assert "got term" in job.text
        assert "status canceled" in job.text
        await h.wait_until_empty()


async def test_p12_no_secret_stands_in_the_pod(cluster: Cluster) -> None:
    """Neither the pod nor anything beside it but Secrets shows the job's token or a variable that is not public."""
    async with cluster.harness() as h:
        secret = {"key": "PASSWORD", "value": "canary-of-a-password", "public": False, "masked": True}
        no_sources = {"key": "GIT_STRATEGY", "value": "none", "public": True, "masked": False}
        job = h.queue(script=["echo running-now", "sleep 2", "test $PASSWORD"], variables=[secret, no_sources])
        await job.wait(lambda record: "running-now" in record.text.splitlines(), timeout=60)
        if h.cluster:
            shown = repr([h.cluster.manifests(kind) for kind in ("pods", "events", "configmaps", "services")])
        else:
            shown = await anyio.to_thread.run_sync(
                cluster.kubectl, "get", "pods,events,configmaps,services", "-o", "json"
            )
        await job.wait_finished(timeout=60)
        assert job.state == "success", job.text
        assert str(job.id) in shown
        assert "canary-of-a-password" not in shown
        assert job.token not in shown


@pytest.mark.only_on("real")
@pytest.mark.parametrize("honored", ["false", "true"])
async def test_process_one_has_short_arguments(cluster: Cluster, honored: str) -> None:
    """A job that lists its processes finds them, not a page of the agent's text; nor is that in its environment."""
    script = [
        "tr '\\0' ' ' </proc/1/cmdline; echo",
        "env | grep ^_agent || echo none",
        "cat /proc/[0-9]*/cmdline | wc -c",
    ]
    variables = {**NO_SOURCES, "FF_KUBERNETES_HONOR_ENTRYPOINT": honored}
    async with cluster.harness() as h:
        for image in (cluster.busybox_image, cluster.debian_image):
            job = await h.run(image=image, script=script, variables=variables)
            assert job.state == "success", job.text
            lines = job.text.splitlines()
            assert "none" in lines
            assert any(line.startswith('sh -c eval "$_agent" agent /logs-') for line in lines), job.text
            assert int(next(line for line in reversed(lines) if line.isdigit())) < 2000


async def test_p13_a_script_of_five_mebibytes_runs(cluster: Cluster) -> None:
    """A long script arrives whole, whatever stands in it."""
    filler = "\n".join(f": '{i} äöü $HOME `x` \\\\ \"'" for i in range(150_000))
    async with cluster.harness() as h:
        job = await h.run(script=[filler + "\necho whole"], variables=NO_SOURCES, timeout=120)
        assert job.state == "success", job.text[-2000:]
        assert "\nwhole\n" in job.text


@pytest.mark.only_on("real")
async def test_p11_p14_images_users_and_read_only_roots(cluster: Cluster) -> None:
    """busybox, dash and bash images, a user that is not root, a read-only root file system: the job just runs."""
    context = {"run_as_user": 1001, "run_as_group": 1001, "read_only_root_filesystem": True}
    async with cluster.harness(kubernetes={"build_container_security_context": context}) as h:
        for image in (cluster.busybox_image, cluster.debian_image):
            job = await h.run(script=["id -u", "echo works > file", "cat file"], image=image, variables=NO_SOURCES)
            assert job.state == "success", job.text
            assert "\n1001\n" in job.text
            assert "\nworks\n" in job.text


@pytest.mark.only_on("real")
async def test_p15_any_image_with_git_serves_as_helper(cluster: Cluster) -> None:
    """An image that is not ours as the helper: the sh agent does what the Python one does."""
    async with cluster.harness(kubernetes={"helper_image": cluster.debian_image}) as h:
        repository = await h.gitlab.create_repository("acme/demo", files={"hello.txt": "from git\n"})
        job = await h.run(script=["cat hello.txt", "exit 5"], repository=repository, timeout=120)
        assert (job.state, job.exit_code) == ("failed", 5), job.text
        assert "\nfrom git\n" in job.text


@pytest.mark.only_on("real")
async def test_p16_kubectl_logs_shows_the_jobs_output(cluster: Cluster) -> None:
    """While the job runs its log can be read with kubectl too."""
    async with cluster.harness() as h:
        job = h.queue(script=["echo visible-to-kubectl", "sleep 3"], variables=NO_SOURCES)
        await job.wait(lambda record: "visible-to-kubectl" in record.text.splitlines(), timeout=60)
        logs = await anyio.to_thread.run_sync(
            cluster.kubectl, "logs", cluster.pod_of(job.id), "-c", "helper", "--tail=-1"
        )
        assert "visible-to-kubectl" in logs
        await job.wait_finished(timeout=60)
