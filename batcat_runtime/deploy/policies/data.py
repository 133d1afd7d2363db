"""What a purpose's `permissions` come to: Athena, Redshift, secrets, S3 places, keys.

The actions are those that BatCat's own functions call (`io/`), and those that AWS asks for on their
behalf: Athena user guide, "Example IAM policies"; Amazon Redshift management guide, "Authorizing
access to the Amazon Redshift Data API".
"""

from __future__ import annotations

from batcat_runtime.config import Config
from batcat_runtime.deploy.naming import Names
from batcat_runtime.deploy.policies.document import (
    NO_RESOURCES,
    Document,
    allow,
    kms_key,
    s3_buckets,
    s3_places,
)
from batcat_runtime.permissions import AthenaPermissions, RedshiftPermissions

_READ_TABLES = ("GetDatabase", "GetPartition", "GetPartitions", "GetTable", "GetTables")
_WRITE_TABLES = (
    "BatchCreatePartition",
    "BatchDeletePartition",
    "CreatePartition",
    "CreateTable",
    "DeletePartition",
    "DeleteTable",
    "UpdatePartition",
    "UpdateTable",
)


def data_statements(config: Config, names: Names, account: str) -> list[Document]:
    """Return the statements for what the scripts of a purpose ask of AWS by themselves."""
    asked = config.purposes[names.purpose].permissions
    statements = []
    if asked.athena is not None:
        statements += _athena(asked.athena, names, account)
    if asked.redshift is not None:
        statements += _redshift(asked.redshift, names, account)
    if asked.secrets:
        # Secrets Manager ends a secret's ARN with a hyphen and six characters of its own.
        secrets = [
            names.arn("secretsmanager", f"secret:{one}-??????", account) for one in asked.secrets
        ]
        statements.append(allow("ReadSecrets", "secretsmanager:GetSecretValue", secrets))
    places = [*asked.read, *asked.write]
    if places:
        statements.append(allow("ListPlaces", "s3:ListBucket", s3_buckets(names, places)))
        statements.append(allow("ReadPlaces", "s3:GetObject", s3_places(names, places)))
    if asked.write:
        actions = [
            "s3:AbortMultipartUpload",
            "s3:DeleteObject",
            "s3:ListMultipartUploadParts",
            "s3:PutObject",
        ]
        statements.append(allow("WritePlaces", actions, s3_places(names, asked.write)))
        uploads = ["s3:ListBucketMultipartUploads"]
        statements.append(allow("SeeUploads", uploads, s3_buckets(names, asked.write)))
    for number, key in enumerate(asked.kms_keys, 1):
        actions = ["kms:Decrypt", "kms:GenerateDataKey"]
        statements.append(kms_key(f"UseKey{number}", actions, key, names, account))
    return [*statements, *(dict(one) for one in asked.statements)]


def _athena(asked: AthenaPermissions, names: Names, account: str) -> list[Document]:
    workgroups = [names.arn("athena", f"workgroup/{one}", account) for one in asked.workgroups]
    glue = [f"glue:{action}" for action in _READ_TABLES]
    if asked.write:
        glue += [f"glue:{action}" for action in _WRITE_TABLES]
    staging, data = [asked.staging], list(asked.data)
    written = [*staging, *(data if asked.write else [])]
    statements = [
        allow(
            "Query",
            [
                "athena:GetQueryExecution",
                "athena:GetQueryResults",
                "athena:GetWorkGroup",
                "athena:StartQueryExecution",
                "athena:StopQueryExecution",
            ],
            workgroups,
        ),
        allow(
            "ReadTheCatalogue" if not asked.write else "UseTheCatalogue",
            glue,
            _tables(asked, names, account),
        ),
        allow(
            "ListTablesAndResults",
            ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
            s3_buckets(names, [*staging, *data]),
        ),
        allow("ReadTablesAndResults", "s3:GetObject", s3_places(names, [*staging, *data])),
        allow(
            "StageResults",
            [
                "s3:AbortMultipartUpload",
                "s3:DeleteObject",
                "s3:ListMultipartUploadParts",
                "s3:PutObject",
            ],
            s3_places(names, written),
        ),
    ]
    if asked.catalogs:
        catalogs = [names.arn("athena", f"datacatalog/{one}", account) for one in asked.catalogs]
        statements.append(allow("UseOtherCatalogues", "athena:GetDataCatalog", catalogs))
    return statements


def _tables(asked: AthenaPermissions, names: Names, account: str) -> list[str]:
    """Return the ARNs of a Glue call: always the catalogue, the databases and the tables."""
    arns = [names.arn("glue", "catalog", account)]
    for one in asked.tables:
        database, _, table = one.partition(".")
        arns.append(names.arn("glue", f"database/{database}", account))
        arns.append(names.arn("glue", f"table/{database}/{table or '*'}", account))
    return arns


def _redshift(asked: RedshiftPermissions, names: Names, account: str) -> list[Document]:
    clusters = [names.arn("redshift", f"cluster:{one}", account) for one in asked.clusters]
    workgroups = [
        names.arn("redshift-serverless", f"workgroup/{one}", account) for one in asked.workgroup_ids
    ]
    statements = [
        allow(
            "RunStatements",
            ["redshift-data:BatchExecuteStatement", "redshift-data:ExecuteStatement"],
            [*clusters, *workgroups],
        ),
        allow(
            f"StatementsOfOnesOwn{NO_RESOURCES}",
            [
                "redshift-data:CancelStatement",
                "redshift-data:DescribeStatement",
                "redshift-data:GetStatementResult",
            ],
            "*",
            {"StringEquals": {"redshift-data:statement-owner-iam-userid": "${aws:userid}"}},
        ),
    ]
    if workgroups:
        statements.append(
            allow("LogInToWorkgroups", "redshift-serverless:GetCredentials", workgroups)
        )
    if asked.user:
        logins = [
            names.arn("redshift", f"{kind}:{cluster}/{name}", account)
            for cluster in asked.clusters
            for kind, name in (("dbuser", asked.user), ("dbname", asked.database))
        ]
        statements.append(allow("LogInToClusters", "redshift:GetClusterCredentials", logins))
    return statements
