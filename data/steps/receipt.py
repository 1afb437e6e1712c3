"""A step type of one's own, `type: receipt`: examples/python.yml. docs/own-code.md says how."""

from flow_processor.own_code import Options, StepContext, step


class ReceiptOptions(Options):
    """Writes a receipt."""

    lines: list[str]
    """What stands on it."""
    width: int = 20
    """Characters in a line."""


@step(repeatable=True)
def receipt(options: ReceiptOptions, context: StepContext) -> str:
    """One text, a line each, with a rule above and below."""
    context.log(f"{len(options.lines)} lines")
    rule = "-" * options.width
    return "\n".join([rule, *(line[: options.width] for line in options.lines), rule])
