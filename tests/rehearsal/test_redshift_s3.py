"""COPY and UNLOAD of Parquet, what awswrangler sends, and a world from files."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import awswrangler as wr
import boto3
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import ConfigError
from batcat_runtime.rehearsal.aws.lake.redshift_world import make_clusters, make_tables
from tests.rehearsal.conftest import REGION, Cloud
from tests.rehearsal.redshift_world import ADMIN, House


@pytest.fixture(scope="module")
def house(cloud: Cloud) -> House:
    made = House(cloud)
    made.run(
        "CREATE TABLE source (id int, name varchar(20), price decimal(8,2), day date, doc super)",
        "INSERT INTO source VALUES (1, 'a,\"b', 1.50, '2022-01-31', json_parse('[1]')), "
        "(2, null, null, '2022-01-31', null), (3, 'c', 2, '2022-02-01', null)",
    )
    return made


@pytest.fixture(scope="module")
def role(cloud: Cloud) -> str:
    return cloud.role("redshift", REGION)


@pytest.fixture
def bucket(cloud: Cloud) -> str:
    return cloud.bucket(REGION)


def keys(house: House, bucket: str) -> list[str]:
    listed = house.cloud.client("s3", house.region).list_objects_v2(Bucket=bucket)["Contents"]
    return [one["Key"] for one in listed]


def put(house: House, bucket: str, key: str, content: pa.Table | bytes) -> None:
    out = io.BytesIO(content if isinstance(content, bytes) else b"")
    if not isinstance(content, bytes):
        pq.write_table(content, out)
    house.cloud.client("s3", house.region).put_object(Bucket=bucket, Key=key, Body=out.getvalue())


def test_what_is_unloaded_can_be_copied_back(house: House, role: str, bucket: str) -> None:
    unload = f"UNLOAD ('SELECT %s FROM source') TO 's3://{bucket}/%s' IAM_ROLE '{role}' PARQUET"
    columns = "id, name, price, day"
    assert house.run(unload % (columns, "out/"))["ResultRows"] == 3
    house.run(unload % (columns, "one_") + " PARALLEL OFF")
    assert keys(house, bucket) == [
        "one_000.parquet",
        "out/0000_part_00.parquet",
    ]
    body = house.cloud.client("s3", REGION).get_object(Bucket=bucket, Key="one_000.parquet")["Body"]
    schema = pq.read_schema(io.BytesIO(body.read()))
    assert schema.types == [pa.int32(), pa.string(), pa.decimal128(8, 2), pa.date32()]
    house.run(f"CREATE TABLE back AS SELECT {columns} FROM source WHERE id = 9")
    copy = f"COPY back FROM 's3://{bucket}/out/' IAM_ROLE '{role}' FORMAT AS PARQUET"
    assert house.run(copy)["ResultRows"] == 3
    query = f"SELECT {columns} FROM {{}} ORDER BY id"
    assert house.rows(query.format("back")) == house.rows(query.format("source"))
    assert house.error(unload % (columns, "out/")).startswith(
        "ERROR: Specified unload destination on S3 is not empty."
    )
    house.run(unload % (columns, "out/") + " ALLOWOVERWRITE")
    assert "does not perform COPY and UNLOAD with PARTITION BY" in house.error(
        unload % ("id, day", "p/") + " PARTITION BY (day)"
    )


def test_copy_is_as_strict_with_parquet_as_redshift(house: House, role: str, bucket: str) -> None:
    house.run("CREATE TABLE strict (id int, name varchar(5))")
    copy = f"COPY strict FROM 's3://{bucket}/%s' IAM_ROLE '{role}' FORMAT AS PARQUET"
    ids = pa.array([1], pa.int32())
    put(house, bucket, "wide", pa.table({"id": pa.array([1], pa.int64()), "name": ["a"]}))
    put(house, bucket, "few", pa.table({"id": ids}))
    put(house, bucket, "text", b"id,name")
    put(house, bucket, "long", pa.table({"x": ids, "y": ["abcdef"]}))
    put(house, bucket, "good", pa.table({"x": ids, "y": ["abc"]}))
    for key, said in (
        ("wide", "incompatible Parquet schema for column"),
        ("few", "Unmatched number of columns"),
        ("text", "Spectrum Scan Error"),
        ("long", "ERROR: value too long for type character varying(5)"),
    ):
        assert said in house.error(copy % key)
    house.run(copy % "good")
    assert house.rows("SELECT * FROM strict ORDER BY 1") == [(1, "abc")]


def test_copy_and_unload_are_refused_where_redshift_refuses(
    house: House, role: str, bucket: str
) -> None:
    put(house, bucket, "a", pa.table({"id": pa.array([1], pa.int32())}))
    house.run("CREATE TABLE target (id int)")
    foreign = house.cloud.bucket("cn-north-1", a="1")

    def failed(form: str = "FORMAT AS PARQUET", **changes: str) -> str:
        given = {"bucket": bucket, "key": "a", "role": f"'{role}'", **changes}
        copy = "COPY target FROM 's3://{bucket}/{key}' IAM_ROLE {role} "
        return house.error(copy.format(**given) + form)

    stranger = house.cloud.role("lambda", REGION)
    for arn, said in (
        (f"'{stranger}'", "is not authorized to assume IAM Role"),
        (f"'{role}-gone'", "is not authorized to assume IAM Role"),
        (f"'{role.replace('aws-cn', 'aws')}'", "Invalid IAM role ARN"),
        ("default", "Cannot find default IAM role"),
    ):
        assert said in failed(role=arn)
    assert failed(key="nothing") == "ERROR: The specified S3 prefix 'nothing' does not exist"
    assert "NoSuchBucket" in failed(bucket="bucket-that-is-not-there")
    assert "different region from this cluster" in failed(bucket=foreign)
    assert "COPY and UNLOAD of PARQUET only" in failed("FORMAT AS CSV")
    assert "MANIFEST" in failed("FORMAT AS PARQUET MANIFEST")
    for query, said in (("1 LIMIT 1", "Limit clause"), ("* FROM nowhere", "does not exist")):
        unload = f"UNLOAD ('SELECT {query}') TO 's3://{bucket}/u' IAM_ROLE '{role}' PARQUET"
        assert said in house.error(unload)


def test_a_cluster_uses_its_default_role(cloud: Cloud) -> None:
    house = House(cloud, "us-east-1", IamRoles=[cloud.role("redshift", "us-east-1")])
    place = f"'s3://{cloud.bucket('us-east-1')}/d' IAM_ROLE default FORMAT AS PARQUET"
    house.run("CREATE TABLE mine AS SELECT 1 AS a", "CREATE TABLE yours (a int)")
    house.run(f"UNLOAD ('SELECT a FROM mine') TO {place}", f"COPY yours FROM {place}")
    assert house.rows("SELECT * FROM yours") == [(1,)]


def test_s3_is_asked_with_the_rights_of_the_role(enforcing: Cloud) -> None:
    house = House(enforcing)
    role, bucket = enforcing.role("redshift", REGION), enforcing.bucket(REGION)
    unload = f"UNLOAD ('SELECT 1 AS a') TO 's3://{bucket}/a' IAM_ROLE '{role}' PARQUET"
    assert "is not authorized to perform: s3:ListBucket" in house.error(unload)
    may = {"Effect": "Allow", "Action": "s3:*", "Resource": f"arn:aws-cn:s3:::{bucket}*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [may]})
    enforcing.client("iam").put_role_policy(
        RoleName=role.rpartition("/")[2], PolicyName="s3", PolicyDocument=policy
    )
    house.run(unload)


def test_what_awswrangler_sends(
    house: House, role: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in house.cloud.aws.environment().items():
        monkeypatch.setenv(name, value)
    frame = pd.DataFrame({"vin": ["a", "b"], "n": [1, 2], "d": pd.to_datetime(["2022-01-01"] * 2)})
    session = boto3.Session(region_name=REGION)
    staging = f"s3://{bucket}/wr/"
    login = {"auto_create": False, "ssl": False, "boto3_session": session}
    with wr.redshift.connect_temp(house.name, ADMIN, "dev", **login) as connection:
        to: dict[str, Any] = {"con": connection, "table": "sent", "schema": "public"}
        keyed = {"primary_keys": ["vin"], "diststyle": "KEY", "distkey": "vin", "sortkey": ["n"]}
        wr.redshift.to_sql(frame, **to, **keyed)
        wide = {"use_column_names": True, "add_new_columns": True}
        wr.redshift.to_sql(frame.assign(n=3, x="q"), **to, **wide, mode="upsert")
        query = "SELECT vin, n, x FROM sent WHERE n > %s ORDER BY vin"
        found = wr.redshift.read_sql_query(query, connection, params=[1])
        assert found.to_numpy().tolist() == [["a", 3, "q"], ["b", 3, "q"]]
        to["table"] = "copied"
        for method in ("drop", "cascade", "truncate", "delete"):
            way = {"mode": "overwrite", "overwrite_method": method, "lock": True}
            wr.redshift.copy(frame, staging, **to, **way, iam_role=role)
        wr.redshift.copy(frame, staging, **to, mode="upsert", primary_keys=["vin"])  # by keys
        limits = {"max_file_size": 10.0, "region": REGION, "iam_role": role}
        found = wr.redshift.unload("SELECT * FROM copied", f"{staging}u/", connection, **limits)
        pd.testing.assert_frame_equal(
            found.sort_values("vin", ignore_index=True), frame, check_dtype=False
        )
    target = {"cluster_id": house.name, "database": "dev", "db_user": ADMIN}
    api = wr.data_api.redshift.connect(**target, boto3_session=session)
    given = [{"name": "n", "value": "1"}]
    found = wr.data_api.redshift.read_sql_query(
        "SELECT vin FROM copied WHERE n = :n", api, parameters=given
    )
    assert found["vin"].tolist() == ["a"]


def test_a_world_is_made_of_files(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cloud.aws.environment().items():
        monkeypatch.setenv(name, value)
    session = boto3.Session(region_name=REGION)
    for number in (1, 2):
        (tmp_path / f"{number}.csv").write_text(
            f"vin,usage,time\nLRW{number},0.5,2022-01-0{number}\n"
        )
    login = {"username": "reader", "password": "Canary-World1"}
    host = f"world.abc.{REGION}.redshift.amazonaws.com.cn"
    secrets = make_clusters(
        {
            "by/cluster": {**login, "host": host, "port": 5439},
            "by/workgroup": {**login, "workgroupName": "world-group", "dbname": "dev"},
            "api/key": "no login",
        },
        session,
    )
    assert secrets["by/cluster"]["host"] == "127.0.0.1"
    for name, content in secrets.items():
        text = content if isinstance(content, str) else json.dumps(content)
        session.client("secretsmanager").create_secret(Name=name, SecretString=text)
    tables = {"redshift:dw_bms.battery_usage": "*.csv", "redshift:cdc.dw_bms.usage": "1.csv"}
    assert make_tables(tables, tmp_path, session, secrets) == list(tables)
    query = "SELECT vin, usage, time FROM {} WHERE time >= '2022-01-01' ORDER BY vin"
    by_wire = bc.read_data_from_redshift(
        query.format("dw_bms.battery_usage"), secret_name="by/cluster", region=REGION
    )
    by_api = bc.read_data_from_redshift_by_secret(
        "by/workgroup", REGION, query.format("dw_bms.battery_usage")
    )
    assert by_wire.to_dict("list") == by_api.to_dict("list")
    assert by_wire["time"].tolist() == [pd.Timestamp("2022-01-01"), pd.Timestamp("2022-01-02")]
    found = bc.read_data_from_redshift_by_secret(
        "by/cluster", REGION, query.format("cdc.dw_bms.usage")
    )
    assert found["vin"].tolist() == ["LRW1"]
    for wrong, known, said in (
        ("redshift:b", secrets, "is no table of Redshift's"),
        ("redshift:a.b", {"api/key": "no login"}, "no secret names a cluster"),
    ):
        with pytest.raises(ConfigError, match=said):
            make_tables({wrong: "1.csv"}, tmp_path, session, known)
    with pytest.raises(ConfigError, match="finds no file"):
        make_tables({"redshift:a.b": "*.parquet"}, tmp_path, session, secrets)
