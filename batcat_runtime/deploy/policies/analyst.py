"""Whoever asks a pipeline's results in Athena: `batcat results query`, and nothing that runs.

Athena looks up tables, reads them and writes the result with its caller's rights (Athena user
guide, "Access to Amazon S3", "Fine-grained access to databases and tables in the AWS Glue Data
Catalog"), so some actions are needed that no code of BatCat calls.
"""

from __future__ import annotations

from batcat_runtime.config import Config
from batcat_runtime.deploy.naming import Names
from batcat_runtime.deploy.policies.document import Document, allow, result_tables
from batcat_runtime.deploy.policies.operator import decrypt_results

_WORKGROUP = "primary"  # the default of `batcat results query`


def analyst_statements(config: Config, names: Names, account: str) -> list[Document]:
    """Return what entering a purpose's results in Glue and asking them in Athena takes."""
    bucket = names.arn("s3", config.result_s3_bucket, "", region="")
    results, queries = f"{bucket}/{names.result_prefix}/*", f"{bucket}/{names.query_prefix}/*"
    return [
        allow(
            "QueryResults",
            [
                "athena:GetQueryExecution",
                "athena:GetQueryResults",
                "athena:StartQueryExecution",
                "athena:StopQueryExecution",
            ],
            names.arn("athena", f"workgroup/{_WORKGROUP}", account),
        ),
        allow(
            "EnterResultTables",
            [
                "glue:CreateDatabase",
                "glue:CreateTable",
                "glue:GetDatabase",
                "glue:GetPartitions",
                "glue:GetTable",
                "glue:UpdateTable",
            ],
            result_tables(names, account),
        ),
        allow(
            "LookIntoTheBucket",
            ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
            bucket,
        ),
        allow("ReadResults", "s3:GetObject", [results, queries]),
        allow(
            "StageQueries",
            [
                "s3:AbortMultipartUpload",
                "s3:DeleteObject",
                "s3:ListMultipartUploadParts",
                "s3:PutObject",
            ],
            queries,
        ),
        *decrypt_results(config, names, account),
    ]
