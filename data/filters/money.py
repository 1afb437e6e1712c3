"""Template filters: examples/python.yml. docs/own-code.md says how."""

from flow_processor.own_code import template_filter


@template_filter
def money(amount: float, currency: str = "EUR") -> str:
    """`{{ 1234.5 | money }}` is `1,234.50 EUR`."""
    return f"{amount:,.2f} {currency}"
