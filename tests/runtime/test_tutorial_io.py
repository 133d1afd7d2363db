"""The tutorial's IO section, word for word, with real names for its placeholders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import batcat_runtime as bc
from batcat_runtime.rehearsal import EmbeddedAWS
from tests.io_world import PASSWORD, REGION, furnish, usage

# As it stands in the tutorial. Real names: the bucket (S3 knows no upper case), and host, port and
# password of the cluster.
S3 = """
df = bc.read_csv_from_bucket(bucket, key)

bc.save_to_bucket(df, bucket, key)
"""
QUERIES = '''
query = """
SELECT
    vin,
    usage,
    time
FROM
    cdc.dw_bms.battery_usage
WHERE
    time >= '{}' and time <= '{}'
"""
date_start = '2022-01-01'
date_end = '2022-08-01'

# from Athena
region = 'cn-northwest-1'
s3_staging_dir = "s3://apac-athena-queryresult/ATHENA_QUERY"

athena = bc.read_data_from_athena(query=query,
                         region=region,
                         s3_staging_dir=s3_staging_dir,
                         date_start=date_start,
                         date_end=date_end)

# from RedShift
# with host/password
redshift = bc.read_data_from_redshift(query=query,
                           host=host,
                           password=password,
                           port=port,
                           database='dev',
                           user='awsuser',
                           date_start=date_start,
                           date_end=date_end)

# with secret manager
secret_name = 'secret/manager'

by_secret = bc.read_data_from_redshift_by_secret(secret_name=secret_name,
                                     region=region,
                                     query=query)
'''


@pytest.fixture
def names(clean_environment: None) -> Iterator[dict[str, Any]]:
    with EmbeddedAWS(region=REGION) as aws:
        home = aws.home
        yield {"bc": bc, "bucket": "2022-rnd-battery", "key": "usage", "home": home, **furnish(aws)}


def test_the_tutorial_s_io_section_runs_word_for_word(
    names: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    import pandas.testing as same

    bc.save_to_bucket(usage(), names["bucket"], names["key"])
    exec(S3, names)
    assert list(names["df"]["usage"].dropna()) == [12, 7]
    exec(QUERIES, names)
    athena = names["athena"].sort_values("time", ignore_index=True)
    redshift = names["redshift"].sort_values("time", ignore_index=True)
    same.assert_frame_equal(athena, redshift)
    assert list(athena["vin"]) == ["LB370", "LB371", "LB371"]
    # The tutorial gives no dates here: the query goes as it stands, and no time is above '{}'.
    assert len(names["by_secret"]) == 0
    assert list(names["by_secret"].columns) == ["vin", "usage", "time"]
    _nothing_shows(PASSWORD, names["home"], *capfd.readouterr())


def _nothing_shows(password: str, home: Path, *printed: str) -> None:
    """Search what was printed, and all that the embedded AWS wrote: logs, records, warehouses."""
    assert all(password not in text for text in printed)
    files = [path for path in home.rglob("*") if path.is_file()]
    assert any(path.name == "server.log" for path in files)
    assert [path for path in files if password.encode() in path.read_bytes()] == []
