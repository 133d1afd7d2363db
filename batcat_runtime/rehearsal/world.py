"""What a real account would hold before a rehearsal: buckets, sample data, tables and secrets.

``rehearsal.tables`` and ``rehearsal.secrets`` of a purpose in script/config.json name files of the
project, which become Glue or Redshift tables and secrets of Secrets Manager. Everything is checked
before anything is started.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batcat_runtime.config import Config
from batcat_runtime.data import Sample
from batcat_runtime.errors import ConfigError


@dataclass(frozen=True)
class World:
    """Tables and secrets to be made.

    Attributes
    ----------
    folder : Path
        The project's folder, which file names count from.
    tables : mapping of str to str
        From a table's name to the files with its rows: ``data/raw/usage/*.csv``.
    secrets : mapping of str to Any
        From a secret's name to its content.
    """

    folder: Path
    tables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Any] = field(default_factory=dict)


def find_world(config: Config, purpose: str) -> World:
    """Return the tables and secrets that a purpose asks for.

    Raises
    ------
    ConfigError
        A file is not there, or a secret's file is no JSON.
    """
    settings = config.purposes[purpose].rehearsal
    if settings is None:
        return World(config.folder)
    place = f"purposes.{purpose}.rehearsal"
    for name, pattern in settings.tables.items():
        if Path(pattern).is_absolute() or not any(config.folder.glob(pattern)):
            raise ConfigError(
                f"{place}.tables.{name} names {pattern!r}, and the project has no such file.",
                fix="Name CSV or Parquet files below the project's folder: data/raw/usage/*.csv.",
            )
    secrets = {
        name: _secret(config.folder / path, f"{place}.secrets.{name}")
        for name, path in settings.secrets.items()
    }
    return World(config.folder, settings.tables, secrets)


def _secret(path: Path, key: str) -> Any:
    fix = 'Write a JSON file there, without real secrets: {"username": "awsuser", ...}.'
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{key} names {path}, which cannot be read.", fix=fix) from error
    except ValueError as error:
        raise ConfigError(f"{key} names {path}, which is no JSON: {error}.", fix=fix) from error


def put_samples(s3: Any, config: Config, samples: Iterable[Sample]) -> str:
    """Create the buckets that the configuration names, upload samples; say what was done."""
    found = list(samples)
    for bucket in sorted({config.result_s3_bucket, *(sample.place[0] for sample in found)}):
        # us-east-1 is the one region that may not be named as a location constraint.
        place = {"CreateBucketConfiguration": {"LocationConstraint": config.region}}
        s3.create_bucket(Bucket=bucket, **({} if config.region == "us-east-1" else place))
    for sample in found:
        for path in sample.files:
            s3.upload_file(str(path), *sample.address(path))
    sizes = [path.stat().st_size for sample in found for path in sample.files]
    return f"files: {len(sizes)}, {sum(sizes) / 1e6:.1f} MB, from data/raw/"


def put_world(session: Any, world: World) -> str:
    """Make the tables and the secrets; say which."""
    from .aws.lake import redshift_world
    from .aws.lake.world import make_tables

    contents = redshift_world.make_clusters(world.secrets, session)
    manager = session.client("secretsmanager")
    for name, content in contents.items():
        manager.create_secret(Name=name, SecretString=json.dumps(content))
    prefix = redshift_world.PREFIX
    redshift = {one: files for one, files in world.tables.items() if one.startswith(prefix)}
    redshift_world.make_tables(redshift, world.folder, session, contents)
    make_tables(world.tables, world.folder, session)  # those of Glue
    return ", ".join([*world.tables, *world.secrets])
