"""Keys of `[runners.kubernetes]` about time-outs, grace periods and tries."""

from typing import Annotated

from pydantic import Field

from runner.config.base import Given, Table
from runner.config.values import Flag, GoDuration, Number, NumberTable, Seconds, at_least, not_negative_or, positive_or


class TimingKeys(Table):
    """Time-outs and tries."""

    poll_interval: Annotated[Seconds, positive_or(3.0)] = Field(
        3.0, description="seconds between looks at the pod where it cannot be watched"
    )
    poll_timeout: Annotated[Seconds, positive_or(180.0)] = Field(
        180.0, description="seconds that the pod may take to run"
    )
    pod_termination_grace_period_seconds: Annotated[
        Number | None, Given(flag="kubernetes-pod_termination_grace_period_seconds")
    ] = Field(None, description="grace period in the pod's spec, in seconds; unset: the cluster's 30")
    cleanup_grace_period_seconds: Annotated[Number | None, Given(flag="kubernetes-cleanup_grace_period_seconds")] = (
        Field(None, description="grace period with which the pod is deleted, in seconds; unset: the pod's own")
    )
    cleanup_resources_timeout: Annotated[
        GoDuration, positive_or(300.0), Given(flag="kubernetes-cleanup_resources_timeout")
    ] = Field(300.0, description="limit on removing everything a job made")
    resource_availability_check_max_attempts: Annotated[Number, not_negative_or(5)] = Field(
        0, description="looks, 5 seconds apart, for service account and registry secrets before the pod; 0: no check"
    )
    retry_limit: Annotated[Number, positive_or(5), Given(env="KUBERNETES_REQUEST_RETRY_LIMIT")] = Field(
        5, description="tries of a request to the API server, the first one included"
    )
    retry_backoff_max: Annotated[
        Number, positive_or(2000), at_least(500), Given(env="KUBERNETES_REQUEST_RETRY_BACKOFF_MAX")
    ] = Field(2000, description="longest wait between tries, in milliseconds")
    retry_limits: NumberTable = Field(
        {}, description="tries for errors whose text contains the key; they win over `retry_limit`"
    )
    print_pod_warning_events: Flag = Field(
        True, description="show the pod's conditions while it starts, and its warnings after a failure"
    )
