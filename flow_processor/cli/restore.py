"""`octospool restore`: a data folder as a backup knows it."""

from __future__ import annotations

from pathlib import Path

import click

from flow_processor.cli.options import data_path_option, json_option, load_settings
from flow_processor.cli.output import echo_json, say


@click.command("restore")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace what is there; it is moved aside, not deleted.")
@data_path_option
@json_option
def command(file: Path, force: bool, data_path: Path | None, as_json: bool) -> None:
    """Put back what `octospool backup` wrote to FILE. The daemon must be stopped.

    Runs that had not ended at the moment of the backup become `interrupted`: look at what they did after it, then
    let them go on with `octospool runs resume`.

    \b
    Example:
      octospool restore /backups/octospool-2026-11-21.tar.gz --data-path data --force
    """
    from flow_processor.clock import SystemClock
    from flow_processor.service.restore import restore_backup

    settings = load_settings(data_path)
    done = restore_backup(settings, file.absolute(), force=force, clock=SystemClock())
    if as_json:
        aside = None if done.aside is None else str(done.aside)
        known = {"runs": done.runs, "interrupted": list(done.interrupted), "aside": aside}
        echo_json({**known, "left_out": list(done.left_out)})
        return
    say(f"restored {done.runs} runs and {done.files} files as they were at {done.created_at}")
    if done.aside is not None:
        say(f"what was there before lies in {done.aside}; remove it when you do not need it any more")
    for name in done.left_out:
        say(f"{name} was left out of the backup; see to it that it is right")
    for run_id in done.interrupted:
        say(f"run {run_id} was under way: look at what it did, then octospool runs resume {run_id}")
    if not done.secrets:
        say("the backup holds no secrets.yml; see to it that there is the right one")
