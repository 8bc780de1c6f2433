"""`[runners.kubernetes.autoscaler]`: pods that keep room for jobs to come. Read, and not acted on."""

from typing import Annotated

from pydantic import Field, StrictFloat

from runner.config.base import FILE_ONLY, Given, Table
from runner.config.values import Flag, GoDuration, Number, Texts, Unit


class AutoscalerPolicy(Table):
    """`[[runners.kubernetes.autoscaler.policy]]`; of those that match a moment the last one counts."""

    periods: Texts = Field(("* * * * *",), description="times of validity, each in cron's form")
    timezone: str = Field("", description="time zone of the periods; empty: the machine's")
    idle_count: Number = Field(0, description="pods to keep at least")
    idle_time: GoDuration = Field(0.0, description="how long more pods than needed are kept")
    scale_factor: Annotated[StrictFloat, Unit("number")] = Field(0.0, description="pods to keep for each running job")
    scale_factor_limit: Number = Field(0, description="most pods that `scale_factor` gives; 0: no limit")
    preemptive_mode: Flag | None = Field(None, description="of other executors")


class AutoscalerConfig(Table):
    """`[runners.kubernetes.autoscaler]`."""

    max_pause_pods: Annotated[Number, FILE_ONLY] = Field(0, description="most pods to keep; 0: no limit")
    pause_pod_image: Annotated[str, FILE_ONLY] = Field("registry.k8s.io/pause:3.10", description="image of the pods")
    pause_pod_priority_class_name: Annotated[str, FILE_ONLY] = Field(
        "", description="priority class of the pods; empty: one is made"
    )
    pause_pod_image_pull_secrets: Annotated[Texts, Given(flag="")] = Field(
        (), description="names of registry secrets for the image"
    )
    policy: Annotated[tuple[AutoscalerPolicy, ...], FILE_ONLY] = Field((), description="how many pods to keep when")
