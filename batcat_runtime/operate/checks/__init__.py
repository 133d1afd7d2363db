"""The checks of `batcat doctor`: one function each, whose docstring is what its reader sees.

A check gets the `Patient` and returns a `Finding`, or several. It raises what AWS refuses it;
`batcat_runtime.operate.doctor` says then what is missing. None of them changes anything. To add
one, write it and put it into one of the two lists.
"""

from __future__ import annotations

from collections.abc import Callable

from batcat_runtime.operate.checks.account import (
    clock_is_right,
    credentials_are_accepted,
    network_reaches_aws,
    region_is_the_same,
)
from batcat_runtime.operate.checks.bucket import (
    bucket_is_closed,
    bucket_is_encrypted,
    bucket_is_ours,
)
from batcat_runtime.operate.checks.deployed import (
    no_dropped_pipeline_runs,
    schedule_is_as_configured,
    stacks_stand,
)
from batcat_runtime.operate.checks.finding import Finding
from batcat_runtime.operate.checks.image import image_is_in_ecr
from batcat_runtime.operate.checks.local import (
    config_is_valid,
    image_can_be_built,
    lock_is_in_step,
    packages_fit,
    scripts_are_there,
)
from batcat_runtime.operate.checks.patient import Patient
from batcat_runtime.operate.checks.quotas import quota_is_large_enough
from batcat_runtime.operate.checks.roles import (
    roles_may_be_handed_on,
    roles_trust_their_services,
)

CheckFunction = Callable[[Patient], Finding | list[Finding]]

# These need nobody's leave.
LOCAL: tuple[CheckFunction, ...] = (
    config_is_valid,
    scripts_are_there,
    lock_is_in_step,
    packages_fit,
    image_can_be_built,
    network_reaches_aws,
    clock_is_right,
    credentials_are_accepted,
    region_is_the_same,
)
# These ask AWS with the credentials in use.
ON_AWS: tuple[CheckFunction, ...] = (
    bucket_is_ours,
    bucket_is_encrypted,
    bucket_is_closed,
    roles_trust_their_services,
    roles_may_be_handed_on,
    image_is_in_ecr,
    quota_is_large_enough,
    stacks_stand,
    schedule_is_as_configured,
    no_dropped_pipeline_runs,
)
