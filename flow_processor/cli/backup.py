"""`octospool backup`: everything that is worth keeping, in one file."""

from __future__ import annotations

from pathlib import Path

import click

from flow_processor.cli.options import data_path_option, existing_settings, json_option
from flow_processor.cli.output import echo_json, say


@click.command("backup")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--with-secrets", is_flag=True, help="Put secrets.yml in, too.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@data_path_option
@json_option
def command(file: Path, with_secrets: bool, force: bool, data_path: Path | None, as_json: bool) -> None:
    """Write runs, flows, templates, config.yml and large results to FILE (tar.gz), whole or not at all.

    A daemon may go on meanwhile. Files that flows read and write (input/, output/) are not in it.

    \b
    Example:
      octospool backup /backups/octospool-2026-11-21.tar.gz
    """
    from flow_processor.clock import SystemClock
    from flow_processor.service.backup import write_backup

    settings = existing_settings(data_path)
    target = file.absolute()
    made = write_backup(settings, target, with_secrets=with_secrets, replace=force, clock=SystemClock())
    size = target.stat().st_size
    if as_json:
        known = {"file": str(target), "bytes": size, "files": len(made.files), "runs": made.runs}
        more = {"schema": made.schema, "secrets": made.secrets, "left_out": made.left_out}
        echo_json({**known, "created_at": made.created_at, **more})
        return
    say(f"{target}: {made.runs} runs, {len(made.files)} files, {size / 1e6:.1f} MB")
    for name in made.left_out:
        say(f"left out: {name} is no regular file of that folder, or has a name that no flow can name")
    if made.secrets:
        say("secrets.yml is in it: keep the file as safe as the secrets themselves")
    else:
        say("secrets.yml is not in it (--with-secrets puts it in)")
