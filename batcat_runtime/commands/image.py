"""`batcat lock`, `image` and `roles`: the parts of a deployment that others may do."""

from __future__ import annotations

from pathlib import Path

import click

from batcat_runtime.commands.terminal import PATH, folder_option


@click.command()
@folder_option
@click.option("--upgrade", is_flag=True, help="Take the newest versions of everything.")
def lock(folder: Path, upgrade: bool) -> None:
    """Pin the packages of the image, with hashes.

    Needed after a change of deploy/docker/requirements.txt; asks a package index.
    """
    from batcat_runtime.config import find_project
    from batcat_runtime.deploy.lock import write_lock

    click.echo(write_lock(find_project(folder) / "deploy" / "docker", upgrade=upgrade))


@click.command("image")
@folder_option
@click.option("--context", type=PATH, help="Write the build context there, and build nothing.")
@click.option("--sbom", type=PATH, help="Write what it holds there, as CycloneDX JSON.")
def command(folder: Path, context: Path | None, sbom: Path | None) -> None:
    """Build the image and push it to ECR, or write its build context.

    The context is for who builds elsewhere: a folder with the Dockerfile and all that it copies.
    """
    import json

    from batcat_runtime.config import find_project, get_config
    from batcat_runtime.deploy.context import context_of, sbom_of, tag_of, write_context
    from batcat_runtime.deploy.image import setup_image

    config = get_config(find_project(folder))
    if context is None and sbom is None:
        click.echo(setup_image(config))
        return
    files = context_of(config)
    if sbom is not None:
        sbom.write_text(json.dumps(sbom_of(files), indent=2) + "\n", "utf-8")
    if context is None:
        return
    write_context(files, context)
    click.echo(f"{context}: build it for linux/amd64 and push it as {tag_of(files)}")


@click.command()
@folder_option
def roles(folder: Path) -> None:
    """Print how an administrator makes the roles.

    Writes the parameters of deploy/roles.yaml to deploy/build/; no AWS account is asked.
    """
    from batcat_runtime.config import find_project, get_config
    from batcat_runtime.deploy.workflow import roles_commands

    for line in roles_commands(get_config(find_project(folder))):
        click.echo(line)
