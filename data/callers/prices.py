"""Functions that flows call by the step type `python`: examples/python.yml. docs/own-code.md says how."""

from datetime import date

from flow_processor.own_code import caller


@caller
def net_price(gross: float, rate: float = 0.19, day: date | None = None) -> dict[str, object]:
    """The price without tax, and the tax. `rate`: 0.19 is 19 %."""
    net = round(gross / (1 + rate), 2)
    print(f"{gross} is {net} without tax")  # goes to the run's log
    return {"net": net, "tax": round(gross - net, 2), "day": day}
