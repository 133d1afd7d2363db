"""COPY, UNLOAD and external schemas: Redshift's ways to S3 and to the Glue catalogue."""

from __future__ import annotations

import gzip
import io
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.rehearsal.conftest import Cloud
from tests.rehearsal.redshift_world import House

REGIONS = ("cn-northwest-1", "us-east-1")


@pytest.fixture(scope="module")
def house(cloud: Cloud) -> House:
    made = House(cloud)
    made.run(
        "CREATE TABLE source (id int, name varchar(20), price decimal(8,2), day date, "
        "ts timestamp)",
        "INSERT INTO source VALUES (1, 'a,\"b\"', 1.50, '2022-01-31', '2022-01-31 01:02:03'), "
        "(2, null, 2.25, '2022-01-31', null), "
        "(3, 'c', null, '2022-02-01', '2022-02-01 00:00:00.5')",
    )
    return made


@pytest.fixture(scope="module")
def role(house: House) -> str:
    return house.cloud.role("redshift", house.region)


@pytest.fixture
def bucket(house: House) -> str:
    return house.cloud.bucket(house.region)


def keys(house: House, bucket: str, prefix: str = "") -> list[str]:
    s3 = house.cloud.client("s3", house.region)
    found = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    return [one["Key"] for one in found]


def body(house: House, bucket: str, key: str) -> bytes:
    s3 = house.cloud.client("s3", house.region)
    return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())


def put(house: House, bucket: str, key: str, content: bytes | str) -> None:
    data = content.encode() if isinstance(content, str) else content
    house.cloud.client("s3", house.region).put_object(Bucket=bucket, Key=key, Body=data)


def put_parquet(house: House, bucket: str, key: str, table: pa.Table) -> None:
    out = io.BytesIO()
    pq.write_table(table, out)
    put(house, bucket, key, out.getvalue())


@pytest.mark.parametrize(
    "form", ["FORMAT AS PARQUET", "FORMAT CSV", "FORMAT CSV GZIP", "DELIMITER '\\t' ESCAPE ZSTD"]
)
def test_what_is_unloaded_can_be_copied_back(
    house: House, role: str, bucket: str, form: str
) -> None:
    back = f"copy_{abs(hash(form)) % 10**8}"
    done = house.run(
        f"UNLOAD ('SELECT * FROM source ORDER BY id') TO 's3://{bucket}/out/' "
        f"IAM_ROLE '{role}' {form}"
    )
    assert done["ResultRows"] == 3
    files = keys(house, bucket)
    assert [name.split(".")[0] for name in files] == ["out/0000_part_00", "out/0001_part_00"]
    options = "EMPTYASNULL" if "PARQUET" not in form else ""
    house.run(f"CREATE TABLE {back} (LIKE source)")
    copied = house.run(f"COPY {back} FROM 's3://{bucket}/out/' IAM_ROLE '{role}' {form} {options}")
    assert copied["ResultRows"] == 3
    assert house.rows(f"SELECT * FROM {back} ORDER BY id") == house.rows(
        "SELECT * FROM source ORDER BY id"
    )


def test_unloaded_parquet_holds_redshifts_types(house: House, role: str, bucket: str) -> None:
    house.run(
        f"UNLOAD ('SELECT * FROM source') TO 's3://{bucket}/one_' IAM_ROLE '{role}' "
        "PARQUET PARALLEL OFF"
    )
    assert keys(house, bucket) == ["one_000.parquet"]
    table = pq.read_table(io.BytesIO(body(house, bucket, "one_000.parquet")))
    assert table.schema.field("id").type == pa.int32()
    assert table.schema.field("price").type == pa.decimal128(8, 2)
    assert table.schema.field("day").type == pa.date32()
    assert table.column("price").to_pylist()[0] == Decimal("1.50")


def test_unload_takes_care_of_what_is_there(house: House, role: str, bucket: str) -> None:
    query = "SELECT id, name FROM source ORDER BY 1"
    unload = f"UNLOAD ('{query}') TO 's3://{bucket}/x/' IAM_ROLE '{role}' CSV"
    house.run(f"{unload} HEADER PARALLEL OFF")
    assert body(house, bucket, "x/000") == b'id,name\n1,"a,""b"""\n2,\n3,c\n'
    assert house.error(unload).startswith("ERROR: Specified unload destination on S3 is not empty.")
    house.run(f"{unload} ALLOWOVERWRITE")
    assert keys(house, bucket) == ["x/000", "x/0000_part_00", "x/0001_part_00"]
    house.run(f"{unload} CLEANPATH MANIFEST")
    assert keys(house, bucket) == ["x/0000_part_00", "x/0001_part_00", "x/manifest"]
    manifest = json.loads(body(house, bucket, "x/manifest"))
    assert manifest["entries"][0]["url"] == f"s3://{bucket}/x/0000_part_00"
    house.run("CREATE TABLE manifested (id int, name varchar(20))")
    house.run(f"COPY manifested FROM 's3://{bucket}/x/manifest' IAM_ROLE '{role}' CSV MANIFEST")
    assert house.value("count(*) FROM manifested") == 3


def test_unload_partitions_as_hive_does(house: House, role: str, bucket: str) -> None:
    house.run(
        f"UNLOAD ('SELECT id, day FROM source') TO 's3://{bucket}/p/' IAM_ROLE '{role}' "
        "FORMAT PARQUET PARTITION BY (day)"
    )
    assert keys(house, bucket) == [
        "p/day=2022-01-31/0000_part_00.parquet",
        "p/day=2022-01-31/0001_part_00.parquet",
        "p/day=2022-02-01/0000_part_00.parquet",
    ]
    table = pq.ParquetFile(io.BytesIO(body(house, bucket, keys(house, bucket)[0]))).read()
    assert table.column_names == ["id"]


def test_copy_reads_text_as_its_options_say(house: House, role: str, bucket: str) -> None:
    house.run("CREATE TABLE text (id int, name varchar(10), day date, ts timestamp, ok bool)")
    put(
        house,
        bucket,
        "t/1.csv",
        'id,name,day,ts,ok\n1,"x, ""y""\nz",2022-01-31,2022-01-31 01:02:03,t\n',
    )
    put(house, bucket, "t/2.csv", "id,name,day,ts,ok\n2,,01/31/2022,,no\n")
    house.run(
        f"COPY text FROM 's3://{bucket}/t/' IAM_ROLE '{role}' CSV IGNOREHEADER 1 "
        "DATEFORMAT 'auto' TIMEFORMAT 'auto'"
    )
    assert house.rows("SELECT * FROM text ORDER BY id") == [
        (1, 'x, "y"\nz', "2022-01-31", "2022-01-31 01:02:03", True),
        (2, "", "2022-01-31", None, False),
    ]
    house.run("TRUNCATE text")
    put(house, bucket, "g.gz", gzip.compress(b"3|\\N|31.01.2022|1643590923|true\n"))
    house.run(
        f"COPY text (id, name, day, ts, ok) FROM 's3://{bucket}/g' IAM_ROLE '{role}' GZIP "
        "DATEFORMAT 'DD.MM.YYYY' TIMEFORMAT 'epochsecs' REGION 'cn-northwest-1'"
    )
    assert house.rows("SELECT * FROM text") == [
        (3, None, "2022-01-31", "2022-01-31 01:02:03", True)
    ]
    put(house, bucket, "j.json", '{"ID": 4, "name": "json", "ok": true}\n{"id": 5, "day": null}')
    house.run(f"COPY text FROM 's3://{bucket}/j' IAM_ROLE '{role}' FORMAT JSON 'auto ignorecase'")
    assert house.rows("SELECT id, name, ok FROM text WHERE id > 3 ORDER BY 1") == [
        (4, "json", True),
        (5, None, None),
    ]


def test_copy_says_which_row_is_wrong(house: House, role: str, bucket: str) -> None:
    house.run("CREATE TABLE checked (id int, name varchar(3))")
    put(house, bucket, "c/a.csv", "1,ok\nx,ok\n3,long\n4,a,b\n")
    copy = f"COPY checked FROM 's3://{bucket}/c/' IAM_ROLE '{role}' CSV"
    assert house.error(copy) == (
        "ERROR: Load into table 'checked' failed.  Check 'stl_load_errors' system table for "
        "details."
    )
    assert house.rows(
        "SELECT line_number, colname, raw_field_value, err_reason FROM stl_load_errors "
        "WHERE tbl = 'checked' ORDER BY 1"
    ) == [
        (2, "id", "x", "Invalid digit, Type: Integer"),
        (3, "name", "long", "String length exceeds DDL length"),
        (4, "", "", "Delimiter not found or extra column(s) found"),
    ]
    assert house.value("count(*) FROM checked") == 0
    assert house.run(f"{copy} MAXERROR 3")["ResultRows"] == 1
    assert house.rows("SELECT * FROM checked") == [(1, "ok")]


def test_copy_is_as_strict_with_parquet_as_redshift(house: House, role: str, bucket: str) -> None:
    house.run("CREATE TABLE strict (id int, name varchar(5))")
    copy = f"COPY strict FROM 's3://{bucket}/%s' IAM_ROLE '{role}' FORMAT AS PARQUET"
    put_parquet(
        house, bucket, "wide.parquet", pa.table({"id": pa.array([1], pa.int64()), "name": ["a"]})
    )
    assert "incompatible Parquet schema for column" in house.error(copy % "wide")
    put_parquet(house, bucket, "few.parquet", pa.table({"id": pa.array([1], pa.int32())}))
    assert "Unmatched number of columns" in house.error(copy % "few")
    put(house, bucket, "text.parquet", "id,name")
    assert "Spectrum Scan Error" in house.error(copy % "text")
    put_parquet(house, bucket, "good.parquet",
                pa.table({"x": pa.array([1, 2], pa.int32()), "y": ["abc", None]}))  # fmt: skip
    house.run(copy % "good")
    assert house.rows("SELECT * FROM strict ORDER BY 1") == [(1, "abc"), (2, None)]
    put_parquet(house, bucket, "long.parquet",
                pa.table({"x": pa.array([1], pa.int32()), "y": ["abcdef"]}))  # fmt: skip
    assert house.error(copy % "long") == "ERROR: value too long for type character varying(5)"


def test_copy_and_unload_are_refused_where_redshift_refuses(
    house: House, role: str, bucket: str
) -> None:
    house.run("CREATE TABLE target (id int)")
    put(house, bucket, "a.csv", "1\n")
    copy = "COPY target FROM 's3://{bucket}/{key}' IAM_ROLE '{role}' CSV"
    stranger = house.cloud.role("lambda", house.region)
    foreign = house.cloud.bucket("cn-north-1", **{"a.csv": "1"})

    def failed(**changes: str) -> str:
        return house.error(copy.format(**{"bucket": bucket, "key": "a", "role": role, **changes}))

    assert "is not authorized to assume IAM Role" in failed(role=stranger)
    assert "is not authorized to assume IAM Role" in failed(role=f"{role}-gone")
    assert "Invalid IAM role ARN" in failed(role=role.replace("aws-cn", "aws"))
    assert failed(key="nothing") == "ERROR: The specified S3 prefix 'nothing' does not exist"
    assert "NoSuchBucket" in failed(bucket="bucket-that-is-not-there")
    assert "different region from this cluster" in failed(bucket=foreign)
    assert "Cannot find default IAM role" in house.error(
        f"COPY target FROM 's3://{bucket}/a' IAM_ROLE default CSV"
    )
    assert house.error(f"COPY target FROM 's3://{bucket}/a' CSV").startswith("ERROR: COPY requires")
    assert house.error(f"UNLOAD ('SELECT 1 LIMIT 1') TO 's3://{bucket}/u' IAM_ROLE '{role}'") == (
        "ERROR: Limit clause is not supported"
    )
    assert 'relation "nowhere" does not exist' in house.error(
        f"UNLOAD ('SELECT * FROM nowhere') TO 's3://{bucket}/u' IAM_ROLE '{role}'"
    )


@pytest.mark.parametrize("region", REGIONS)
def test_a_cluster_uses_its_default_role(cloud: Cloud, region: str) -> None:
    role = cloud.role("redshift", region)
    house = House(cloud, region, IamRoles=[role])
    bucket = cloud.bucket(region)
    house.run("CREATE TABLE mine AS SELECT 1 AS a")
    house.run(f"UNLOAD ('SELECT a FROM mine') TO 's3://{bucket}/d' IAM_ROLE default FORMAT PARQUET")
    house.run("CREATE TABLE yours (a int)")
    house.run(f"COPY yours FROM 's3://{bucket}/d' IAM_ROLE DEFAULT FORMAT AS PARQUET")
    assert house.rows("SELECT * FROM yours") == [(1,)]


def glue_table(house: House, bucket: str, database: str, **more: Any) -> None:
    """Register usage data in Glue: Parquet, partitioned by month."""
    glue = house.cloud.client("glue", house.region)
    glue.create_database(DatabaseInput={"Name": database}, **more)
    serde = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
    storage = {
        "Columns": [{"Name": "vin", "Type": "string"}, {"Name": "usage", "Type": "double"},
                    {"Name": "time", "Type": "string"}],
        "Location": f"s3://{bucket}/usage/",
        "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
        "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
        "SerdeInfo": {"SerializationLibrary": serde},
    }  # fmt: skip
    table = {
        "Name": "battery_usage",
        "TableType": "EXTERNAL_TABLE",
        "StorageDescriptor": storage,
        "PartitionKeys": [{"Name": "month", "Type": "int"}],
    }
    glue.create_table(DatabaseName=database, TableInput=table, **more)
    for month, vins in ((1, ["LRW1", "LRW2"]), (2, ["LRW3"])):
        rows = pa.table(
            {"vin": vins, "usage": [float(month)] * len(vins), "time": ["2022-01-15"] * len(vins)}
        )
        put_parquet(house, bucket, f"usage/month={month}/a.parquet", rows)
        place = {**storage, "Location": f"s3://{bucket}/usage/month={month}/"}
        partition = {"Values": [str(month)], "StorageDescriptor": place}
        glue.create_partition(
            DatabaseName=database, TableName="battery_usage", PartitionInput=partition, **more
        )


def test_an_external_schema_shows_a_glue_database(house: House, role: str, bucket: str) -> None:
    glue_table(house, bucket, "fleet")
    house.run(
        f"CREATE EXTERNAL SCHEMA spectrum FROM DATA CATALOG DATABASE 'fleet' IAM_ROLE '{role}'"
    )
    assert house.rows(
        "SELECT u.month, count(*), min(u.vin) FROM spectrum.battery_usage u GROUP BY 1 ORDER BY 1"
    ) == [(1, 2, "LRW1"), (2, 1, "LRW3")]
    # The data catalogue is there under its own name, too, and can be joined with local tables.
    house.run("CREATE TABLE owners AS SELECT 'LRW3' AS vin, 'Ada' AS name")
    assert house.rows(
        "SELECT o.name, b.usage FROM awsdatacatalog.fleet.battery_usage b JOIN owners o USING (vin)"
    ) == [("Ada", 2.0)]
    house.run(
        "CREATE VIEW recent AS SELECT vin FROM spectrum.battery_usage WHERE month = 2 "
        "WITH NO SCHEMA BINDING"
    )
    assert house.rows("SELECT * FROM recent") == [("LRW3",)]
    house.run("CREATE TABLE kept AS SELECT * FROM spectrum.battery_usage")
    assert house.value("count(*) FROM kept") == 3
    tables = house.api.list_tables(
        ClusterIdentifier=house.name, Database="dev", SchemaPattern="spectrum"
    )["Tables"]
    assert tables == [{"name": "battery_usage", "schema": "spectrum", "type": "EXTERNAL TABLE"}]
    described = house.api.describe_table(
        ClusterIdentifier=house.name, Database="dev", Schema="spectrum", Table="battery_usage"
    )
    assert [(one["name"], one["typeName"]) for one in described["ColumnList"]] == [
        ("vin", "varchar"), ("usage", "float8"), ("time", "varchar"), ("month", "int4"),
    ]  # fmt: skip
    assert house.error("SELECT * FROM spectrum.nothing") == (
        'ERROR: relation "spectrum.nothing" does not exist'
    )
    house.run("DROP SCHEMA spectrum")
    assert "does not exist" in house.error("SELECT * FROM spectrum.battery_usage")
    stranger = house.cloud.role("lambda", house.region)
    assert "is not authorized to assume" in house.error(
        f"CREATE EXTERNAL SCHEMA other FROM DATA CATALOG DATABASE 'fleet' IAM_ROLE '{stranger}'"
    )


TUTORIAL = """
SELECT
    vin,
    usage,
    time
FROM
    cdc.dw_bms.battery_usage
WHERE
    time >= '{}' and time <= '{}'
"""


def test_the_tutorials_query_reads_the_data_catalogue_that_athena_reads(
    house: House, bucket: str
) -> None:
    account = "210987654321"
    house.cloud.client("athena", house.region).create_data_catalog(
        Name="cdc", Type="GLUE", Parameters={"catalog-id": account}
    )
    glue_table(house, bucket, "dw_bms", CatalogId=account)
    rows = house.rows(TUTORIAL.format("2022-01-01", "2022-08-01") + " ORDER BY vin")
    assert [row[0] for row in rows] == ["LRW1", "LRW2", "LRW3"]
    assert house.rows(TUTORIAL.format("2023-01-01", "2023-08-01")) == []


def test_the_tutorials_query_reads_a_database_of_that_name(cloud: Cloud) -> None:
    house = House(cloud, "us-east-1")
    house.run("CREATE DATABASE cdc")
    house.run(
        "CREATE SCHEMA dw_bms",
        "CREATE TABLE dw_bms.battery_usage (vin varchar(17), usage float, time date)",
        "INSERT INTO dw_bms.battery_usage VALUES ('LRW9', 0.5, '2022-05-01')",
        Database="cdc",
    )
    rows = house.rows(TUTORIAL.format("2022-01-01", "2022-08-01"))
    assert rows == [("LRW9", 0.5, "2022-05-01")]
