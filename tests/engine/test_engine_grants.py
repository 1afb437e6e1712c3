"""Which secrets a run's worker is given."""

from flow_processor.engine.grants import Grants

CALL = "rest: {uri: 'http://127.0.0.1/', authentication: {type: token, secret: SECRET}}"


def test_a_run_may_have_the_secrets_that_its_flows_name_and_no_others() -> None:
    """Also those of sub-flows, and of steps that stand inside others."""
    inner = CALL.replace("SECRET", "inside")
    flows = {
        "a.yml": f"steps:\n  - {{name: call, type: rest, {CALL.replace('SECRET', 'outside')}}}\n",
        "b.yml": "steps:\n  - name: pick\n    type: switch\n    switch:\n      data_key: __input__\n"
        f"      cases:\n        - {{when: x, step: {{type: rest, {inner}}}}}\n",
    }
    assert Grants().of("hash", flows) == {"outside", "inside"}


def test_a_flow_without_secrets_gets_none() -> None:
    assert Grants().of("hash", {"a.yml": "steps:\n  - {name: d, type: debug}\n"}) == frozenset()
