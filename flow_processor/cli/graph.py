"""`octospool graph`: a flow as a picture."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from flow_processor.cli.options import data_path_option, existing_settings
from flow_processor.cli.output import write_file


@click.command("graph")
@click.argument("flow")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "mermaid", "svg"]),
    default="text",
    show_default=True,
    help="How it is drawn.",
)
@click.option(
    "--sub-flows", is_flag=True, help="Draw the flows that it calls inside the steps that call them."
)
@click.option(
    "--output", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write it there."
)
@data_path_option
def command(flow: str, form: str, sub_flows: bool, output: Path | None, data_path: Path | None) -> None:
    """Draw the steps of FLOW: their order or what they need, jumps, what stands inside them, handlers.

    A flow that is wrong is not drawn; `octospool check` explains it.

    \b
    Example:
      octospool graph ticket_report
      octospool graph ticket_report --format svg --output report.svg
    """
    from flow_processor.flow import name_below
    from flow_processor.graph import as_mermaid, as_svg, as_text, draw_file
    from flow_processor.service.own_code import flow_library

    settings = existing_settings(data_path)
    path = name_below(flow, settings.flows_path)
    drawing = draw_file(flow_library(settings), path, sub_flows=sub_flows)
    if form == "text":
        encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
        text = as_text(drawing, unicode=output is not None or encoding.startswith("utf"))
    else:
        text = as_mermaid(drawing) if form == "mermaid" else as_svg(drawing)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_file(output, text)
