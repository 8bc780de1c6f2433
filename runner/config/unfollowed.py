"""Tables of a runner that change no job: referees and experiments are not acted on, limits on waits are counted.

They have fields, so that a mistake in them is told as it is everywhere.
"""

from pydantic import Field

from runner.config.base import Table
from runner.config.values import Flag, GoDuration, Seconds, Texts


class MetricsReferee(Table):
    """`[runners.referees.metrics]`."""

    prometheus_address: str = Field("", description="address of Prometheus")
    query_interval: Seconds = Field(0.0, description="seconds between samples")
    queries: Texts = Field((), description="queries, each as `name:promql`")


class Referees(Table):
    """`[runners.referees]`; the executor has nothing that a referee could watch."""

    metrics: MetricsReferee | None = Field(None, description="metrics of a job's machine, uploaded after it")


class QueuingDuration(Table):
    """`[[runners.monitoring.job_queuing_durations]]`."""

    periods: Texts = Field((), description="times of validity, each in cron's form")
    timezone: str = Field("", description="time zone of the periods; empty: the machine's")
    threshold: GoDuration = Field(0.0, description="longest acceptable wait of a job")
    jobs_running_for_project: str = Field("", description="pattern of the number of running jobs of the project")


class Monitoring(Table):
    """`[runners.monitoring]`."""

    job_queuing_durations: tuple[QueuingDuration, ...] = Field((), description="acceptable waits of jobs")


class BootVerify(Table):
    """`[runners.experimental.boot_verify]`."""

    enabled: Flag = Field(False, description="run a job of its own before the first one from GitLab")
    timeout: GoDuration = Field(300.0, description="limit on that job")
    acquire_min_backoff: GoDuration = Field(1.0, description="shortest wait for room for it")
    acquire_max_backoff: GoDuration = Field(10.0, description="longest wait for room for it")


class RunnerExperiments(Table):
    """`[runners.experimental]`."""

    boot_verify: BootVerify | None = Field(None, description="a job that proves the runner at the start")


class Experiments(Table):
    """`[experimental]`."""

    usage_logger: dict[str, object] = Field({}, description="records of the use of runners")
