"""What a purpose's scripts ask of AWS by themselves: Athena, Redshift, secrets, further S3 places.

SageMaker brings inputs in and results out; for that, jobs need nothing from here. A script that
queries or reads on its own says so under ``permissions`` of its purpose, and the jobs' role gets
exactly that.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from batcat_runtime.bucket import bucket_problem


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _legal_place(uri: str) -> str:
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    problem = bucket_problem(bucket)
    if not uri.startswith("s3://") or problem or "*" in prefix:
        raise ValueError(
            f"{uri!r} is no S3 place{': ' + problem if problem else ''}; write it as "
            "'s3://bucket/prefix/'"
        )
    return uri


def _legal_statement(statement: dict[str, Any]) -> dict[str, Any]:
    missing = {"Effect", "Action", "Resource"} - set(statement)
    unknown = set(statement) - {"Sid", "Effect", "Action", "Resource", "Condition"}
    if missing or unknown or statement.get("Effect") not in ("Allow", "Deny"):
        raise ValueError(
            "a statement has Effect (Allow or Deny), Action and Resource, and may have Sid and "
            "Condition, as in the IAM user guide"
        )
    if statement.get("Action") == "*":
        raise ValueError("a statement for every action is no permission; name the actions")
    sid = statement.get("Sid", "")
    if not isinstance(sid, str) or not re.fullmatch("[A-Za-z0-9]*", sid):
        raise ValueError(f"Sid {sid!r}: only Latin letters and digits are allowed")
    return statement


Place = Annotated[str, AfterValidator(_legal_place)]
Statement = Annotated[dict[str, Any], AfterValidator(_legal_statement)]
Word = Annotated[str, Field(pattern=r"^[\w.-]+$", max_length=128)]
SecretName = Annotated[str, Field(pattern=r"^[\w/+=.@-]+$", max_length=512)]
Table = Annotated[str, Field(pattern=r"^[\w-]+(\.([\w-]+|\*))?$", max_length=512)]
KmsKey = Annotated[str, Field(pattern=r"^[a-zA-Z0-9:/_-]+$", max_length=2048)]


class AthenaPermissions(_Part):
    """Queries on Athena.

    `staging` is where results are put (``s3_staging_dir``); `tables` are Glue databases, or
    ``database.table``; `data` are the S3 places where these tables lie. With `write`, tables may be
    made and filled as well.
    """

    staging: Place
    tables: list[Table] = Field(min_length=1)
    data: list[Place] = []
    workgroups: list[Word] = Field(default=["primary"], min_length=1)
    catalogs: list[Word] = []
    write: bool = False


class RedshiftPermissions(_Part):
    """Queries through the Redshift Data API.

    A provisioned cluster goes by its name, a serverless workgroup by its id (``workgroupId`` of
    ``aws redshift-serverless get-workgroup``), since that is what its ARN holds. The login is a
    secret under `secrets` of the permissions, or the database user `user`, for which AWS makes a
    password that lasts minutes.
    """

    clusters: list[Word] = []
    workgroup_ids: list[Word] = []
    database: Word = "dev"
    user: Word | None = None

    @model_validator(mode="after")
    def _something_is_named(self) -> RedshiftPermissions:
        if not self.clusters and not self.workgroup_ids:
            raise ValueError("name at least one cluster or workgroup id")
        if self.user and not self.clusters:
            raise ValueError("user is for clusters; a workgroup knows its user by the role")
        return self


class Permissions(_Part):
    """What the jobs of a purpose may do besides reading inputs and writing results.

    Attributes
    ----------
    athena : AthenaPermissions or None
        Queries on Athena.
    redshift : RedshiftPermissions or None
        Queries through the Redshift Data API.
    secrets : list of str
        Names of secrets that may be read.
    read, write : list of str
        S3 places that scripts read and write by themselves.
    kms_keys : list of str
        Keys of objects, tables or secrets that are read or written.
    statements : list of dict
        Statements of IAM for the jobs, as they stand.
    workflow_statements : list of dict
        Statements for the state machine: for states that you add to the workflow.
    """

    athena: AthenaPermissions | None = None
    redshift: RedshiftPermissions | None = None
    secrets: list[SecretName] = []
    read: list[Place] = []
    write: list[Place] = []
    kms_keys: list[KmsKey] = []
    statements: list[Statement] = []
    workflow_statements: list[Statement] = []
