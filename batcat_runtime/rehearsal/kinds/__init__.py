"""The resource types that the embedded CloudFormation has, each over its service's own API.

Importing this package makes them known; `resources.KINDS` holds them by type.
"""

from . import alerts, buckets, builds, functions, iam, logs, registry, schedules, states

__all__ = [
    "alerts",
    "buckets",
    "builds",
    "functions",
    "iam",
    "logs",
    "registry",
    "schedules",
    "states",
]
