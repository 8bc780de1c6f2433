"""Keys of `[runners.kubernetes]` about CPU, memory and storage.

Each amount has a guard: the most that a job may ask for with the variable of the amount's name. An empty guard lets
jobs choose nothing, and a guard does not judge what the configuration itself says.
"""

from typing import Annotated

from pydantic import Field

from runner.config.base import Given, Table
from runner.config.values import Quantity, QuantityGuard


class ResourceKeys(Table):
    """Resources."""

    cpu_limit: Quantity = Field("", description="CPU limit of the build container")
    cpu_limit_overwrite_max_allowed: QuantityGuard = Field(
        "", description="most that jobs may ask for with `KUBERNETES_CPU_LIMIT`; empty: nothing"
    )
    cpu_request: Quantity = Field("", description="CPU request of the build container")
    cpu_request_overwrite_max_allowed: QuantityGuard = Field(
        "", description="most that jobs may ask for with `KUBERNETES_CPU_REQUEST`; empty: nothing"
    )
    memory_limit: Quantity = Field("", description="memory limit of the build container")
    memory_limit_overwrite_max_allowed: QuantityGuard = Field(
        "", description="most that jobs may ask for with `KUBERNETES_MEMORY_LIMIT`; empty: nothing"
    )
    memory_request: Quantity = Field("", description="memory request of the build container")
    memory_request_overwrite_max_allowed: QuantityGuard = Field(
        "", description="most that jobs may ask for with `KUBERNETES_MEMORY_REQUEST`; empty: nothing"
    )
    ephemeral_storage_limit: Quantity = Field("", description="storage limit of the build container")
    ephemeral_storage_limit_overwrite_max_allowed: QuantityGuard = Field(
        "", description="most that jobs may ask for with `KUBERNETES_EPHEMERAL_STORAGE_LIMIT`; empty: nothing"
    )
    ephemeral_storage_request: Quantity = Field("", description="storage request of the build container")
    ephemeral_storage_request_overwrite_max_allowed: QuantityGuard = Field(
        "", description="most that jobs may ask for with `KUBERNETES_EPHEMERAL_STORAGE_REQUEST`; empty: nothing"
    )

    service_cpu_limit: Quantity = Field("", description="CPU limit of each service container")
    service_cpu_limit_overwrite_max_allowed: QuantityGuard = Field(
        "", description="most that jobs may ask for with `KUBERNETES_SERVICE_CPU_LIMIT`; empty: nothing"
    )
    service_cpu_request: Quantity = Field("", description="CPU request of each service container")
    service_cpu_request_overwrite_max_allowed: QuantityGuard = Field(
        "", description="most that jobs may ask for with `KUBERNETES_SERVICE_CPU_REQUEST`; empty: nothing"
    )
    service_memory_limit: Quantity = Field("", description="memory limit of each service container")
    service_memory_limit_overwrite_max_allowed: QuantityGuard = Field(
        "", description="most that jobs may ask for with `KUBERNETES_SERVICE_MEMORY_LIMIT`; empty: nothing"
    )
    service_memory_request: Quantity = Field("", description="memory request of each service container")
    service_memory_request_overwrite_max_allowed: QuantityGuard = Field(
        "", description="most that jobs may ask for with `KUBERNETES_SERVICE_MEMORY_REQUEST`; empty: nothing"
    )
    service_ephemeral_storage_limit: Annotated[Quantity, Given(flag="kubernetes-service-ephemeral_storage-limit")] = (
        Field("", description="storage limit of each service container")
    )
    service_ephemeral_storage_limit_overwrite_max_allowed: Annotated[
        QuantityGuard, Given(flag="kubernetes-service-ephemeral_storage-limit-overwrite-max-allowed")
    ] = Field(
        "", description="most that jobs may ask for with `KUBERNETES_SERVICE_EPHEMERAL_STORAGE_LIMIT`; empty: nothing"
    )
    service_ephemeral_storage_request: Annotated[
        Quantity, Given(flag="kubernetes-service-ephemeral_storage-request")
    ] = Field("", description="storage request of each service container")
    service_ephemeral_storage_request_overwrite_max_allowed: Annotated[
        QuantityGuard, Given(flag="kubernetes-service-ephemeral_storage-request-overwrite-max-allowed")
    ] = Field(
        "", description="most that jobs may ask for with `KUBERNETES_SERVICE_EPHEMERAL_STORAGE_REQUEST`; empty: nothing"
    )

    helper_cpu_limit: Quantity = Field("", description="CPU limit of the helper container")
    helper_cpu_limit_overwrite_max_allowed: QuantityGuard = Field(
        "", description="most that jobs may ask for with `KUBERNETES_HELPER_CPU_LIMIT`; empty: nothing"
    )
    helper_cpu_request: Quantity = Field("", description="CPU request of the helper container")
    helper_cpu_request_overwrite_max_allowed: QuantityGuard = Field(
        "", description="most that jobs may ask for with `KUBERNETES_HELPER_CPU_REQUEST`; empty: nothing"
    )
    helper_memory_limit: Quantity = Field("", description="memory limit of the helper container")
    helper_memory_limit_overwrite_max_allowed: QuantityGuard = Field(
        "", description="most that jobs may ask for with `KUBERNETES_HELPER_MEMORY_LIMIT`; empty: nothing"
    )
    helper_memory_request: Quantity = Field("", description="memory request of the helper container")
    helper_memory_request_overwrite_max_allowed: QuantityGuard = Field(
        "", description="most that jobs may ask for with `KUBERNETES_HELPER_MEMORY_REQUEST`; empty: nothing"
    )
    helper_ephemeral_storage_limit: Annotated[Quantity, Given(flag="kubernetes-helper-ephemeral_storage-limit")] = (
        Field("", description="storage limit of the helper container")
    )
    helper_ephemeral_storage_limit_overwrite_max_allowed: Annotated[
        QuantityGuard, Given(flag="kubernetes-helper-ephemeral_storage-limit-overwrite-max-allowed")
    ] = Field(
        "", description="most that jobs may ask for with `KUBERNETES_HELPER_EPHEMERAL_STORAGE_LIMIT`; empty: nothing"
    )
    helper_ephemeral_storage_request: Annotated[Quantity, Given(flag="kubernetes-helper-ephemeral_storage-request")] = (
        Field("", description="storage request of the helper container")
    )
    helper_ephemeral_storage_request_overwrite_max_allowed: Annotated[
        QuantityGuard, Given(flag="kubernetes-helper-ephemeral_storage-request-overwrite-max-allowed")
    ] = Field(
        "", description="most that jobs may ask for with `KUBERNETES_HELPER_EPHEMERAL_STORAGE_REQUEST`; empty: nothing"
    )

    pod_cpu_limit: Quantity = Field("", description="CPU limit of the whole pod; needs pod-level resources")
    pod_cpu_limit_overwrite_max_allowed: QuantityGuard = Field(
        "", description="most that jobs may ask for with `KUBERNETES_POD_CPU_LIMIT`; empty: nothing"
    )
    pod_cpu_request: Quantity = Field("", description="CPU request of the whole pod; needs pod-level resources")
    pod_cpu_request_overwrite_max_allowed: QuantityGuard = Field(
        "", description="most that jobs may ask for with `KUBERNETES_POD_CPU_REQUEST`; empty: nothing"
    )
    pod_memory_limit: Quantity = Field("", description="memory limit of the whole pod; needs pod-level resources")
    pod_memory_limit_overwrite_max_allowed: QuantityGuard = Field(
        "", description="most that jobs may ask for with `KUBERNETES_POD_MEMORY_LIMIT`; empty: nothing"
    )
    pod_memory_request: Quantity = Field("", description="memory request of the whole pod; needs pod-level resources")
    pod_memory_request_overwrite_max_allowed: QuantityGuard = Field(
        "", description="most that jobs may ask for with `KUBERNETES_POD_MEMORY_REQUEST`; empty: nothing"
    )
