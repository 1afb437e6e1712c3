"""`octospool flows put`, `versions` and `restore`: flow files are changed whole, and brought back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from flow_processor.cli.options import data_path_option, existing_settings, json_option
from flow_processor.cli.output import echo_json, moment, say, table
from flow_processor.errors import FlowNotFound, NotFound, Problem
from flow_processor.logs import escape

if TYPE_CHECKING:
    from flow_processor.service.edit_views import FlowFileEdited
    from flow_processor.service.flow_edits import Expected


@click.command("put")
@click.argument("flow")
@click.argument("file", type=click.File("rb"))
@click.option("--replace", is_flag=True, help="Overwrite the flow if there is one.")
@click.option("--dry", is_flag=True, help="Only say what would be said; nothing is written.")
@data_path_option
@json_option
def put(flow: str, file: BinaryIO, replace: bool, dry: bool, data_path: Path | None, as_json: bool) -> None:
    """Write FILE (-: what comes in) as FLOW, whole, if it is right; what was there before is kept as a version.

    It counts at once: no run meets half of it. A running daemon does it, where config.yml says
    `api: {edit_flows: true}`.

    \b
    Example:
      octospool flows put reports/daily.yml daily.yml --replace
    """
    from flow_processor.cli.connect import changing

    settings = existing_settings(data_path)
    content = file.read()
    with changing(settings) as spooler:
        expected = _expected(spooler, flow, replace=replace or dry)
        _tell(spooler.write_flow_file(flow, content, expected, by="cli", dry=dry), as_json=as_json)


@click.command("versions")
@click.argument("flow")
@click.argument("version", type=click.IntRange(min=1), required=False)
@data_path_option
@json_option
def versions(flow: str, version: int | None, data_path: Path | None, as_json: bool) -> None:
    """List the last versions of FLOW that were written over the API or by `flows put`; with VERSION print that one.

    \b
    Example:
      octospool flows versions report
      octospool flows versions report 3 > report.yml
    """
    from flow_processor.cli.connect import reading

    settings = existing_settings(data_path)
    with reading(settings) as spooler:
        found: Any = spooler.flow_versions(flow) if version is None else spooler.flow_version(flow, version)
    if as_json:
        echo_json(found.model_dump(mode="json"))
    elif version is not None:
        click.echo(found.text, nl=False)
    else:
        rows = [
            (
                str(one.version) + (" (now)" if one.current else ""),
                one.kind.value if one.restored is None else f"{one.kind.value} from {one.restored}",
                moment(one.at, settings.zone),
                one.by or "by hand",
                str(one.bytes),
            )
            for one in found.versions
        ]
        table(("version", "how", "at", "by", "bytes"), rows, empty=f"no versions of {found.path} are kept")


@click.command("restore")
@click.argument("flow")
@click.argument("version", type=click.IntRange(min=1))
@data_path_option
@json_option
def restore(flow: str, version: int, data_path: Path | None, as_json: bool) -> None:
    """Write VERSION of FLOW again, if it is right; also of a flow that was deleted.

    \b
    Example:
      octospool flows restore report 3
    """
    from flow_processor.cli.connect import changing

    settings = existing_settings(data_path)
    with changing(settings) as spooler:
        expected = _expected(spooler, flow, replace=True)
        _tell(spooler.restore_flow_file(flow, version, expected, by="cli"), as_json=as_json)


def _expected(spooler: Any, flow: str, *, replace: bool) -> Expected:
    """The flow as it is now, so that nobody's change from this moment on is overwritten."""
    from flow_processor.service.flow_edits import Expected

    if not replace:
        return Expected(is_absent=True)
    try:
        etag = spooler.flow_file(flow).etag
    except NotFound as error:
        if error.code != FlowNotFound.code:
            raise
        return Expected(is_absent=True)
    return Expected(is_there=True) if etag is None else Expected(etags=frozenset({etag}))


def _tell(edited: FlowFileEdited, *, as_json: bool) -> None:
    if as_json:
        echo_json(edited.model_dump(mode="json"))
        return
    for warning in edited.warnings:
        say(f"not there yet: {escape(str(Problem(**warning)))}")
    if edited.version is None:
        say(f"{edited.path} is right; nothing was written")
        return
    say(f"{edited.path}: {'new, ' if edited.created else ''}version {edited.version}")
    if edited.live_runs:
        say(f"runs under way keep what they were launched with: {', '.join(edited.live_runs)}")
