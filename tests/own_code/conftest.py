"""Own code in the folder of a real service with real workers, one for all tests of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flow_processor.errors import Problem, SpecError
from tests.engine.world import World, until

FILES = {
    "secrets.yml": "- {name: hub, type: token, token: canary-of-the-hub}\n",
    "callers/sums.py": '''
        from datetime import date
        from flow_processor.own_code import Secret, StepError, caller

        @caller
        def total(numbers: list[int], factor: float = 1.0, day: date | None = None) -> dict:
            """Adds up."""
            print("adding", len(numbers))
            print("no line break at its end", end="")
            return {"sum": sum(numbers) * factor, "day": day}

        @caller(name="say")
        def _say(**words: str) -> str:
            return " ".join(f"{name}={word}" for name, word in sorted(words.items()))

        @caller
        def leak(token: Secret, text: str = "") -> str:
            value = token.values["token"]
            if text == "raise":
                raise ValueError(f"refused: {value}")
            return f"{text}{value}"

        @caller
        def ends(how: str):
            if how == "own":
                raise StepError("no such day", code="no_day", details={"day": 32})
            if how.startswith("sibling_"):
                raise StepError("mine", code=how)
            if how == "exit":
                raise SystemExit(3)
            return {"object": object}[how]

        @caller
        def grow(rows: list):
            rows.append(9)
            return rows

        @caller
        def slow():
            import time
            time.sleep(1000)
    ''',
    "steps/letter.py": '''
        from flow_processor.own_code import Exit, Options, StepContext, StepResult, step

        class LetterOptions(Options):
            """A letter."""
            to: str
            copies: int = 1
            pause: float = 0
            secret: str | None = None

        @step(repeatable=True)
        def letter(options: LetterOptions, context: StepContext):
            context.log(f"attempt {context.attempt}")
            key = context.secret(options.secret).values["token"][:3] if options.secret else ""
            if options.copies == 9:
                context.data["rows"].append(3)
                context.lookup("rows").append(4)
                return context.data["rows"]
            context.pause(options.pause, since=None)
            if options.copies == 0:
                return StepResult("none", Exit("no copies"))
            return [f"To {options.to}{key}"] * options.copies
    ''',
    "filters/texts.py": """
        from flow_processor.own_code import template_filter

        @template_filter
        def initials(text, between=""):
            return between.join(word[0] for word in text.split())

        @template_filter
        def grown(rows, by=()):
            rows.append(by)
            return len(rows)
    """,
    "callers/broken.py": "import no_such_module_here\n",
    "templates/hello.j2": "Hello {{ name | initials('.') }}",
}


def write(data: Path, files: dict[str, str]) -> None:
    """Write files below the data folder; their common indentation goes."""
    import textwrap

    for name, text in files.items():
        path = data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    data = tmp_path_factory.mktemp("octospool") / "data"
    write(data, FILES)
    world = World(data, max_workers=4).start()
    yield world
    world.leave()


@pytest.fixture
def refused(world: World) -> Callable[[str], list[Problem]]:
    """The problems for which a flow is refused."""

    def launch(flow: str) -> list[Problem]:
        with pytest.raises(SpecError) as error:
            world.launch(flow)
        return list(error.value.problems)

    return launch


def edit(world: World, name: str, text: str, seen: Callable[[Any], object]) -> None:
    """Write a file and wait until the service has taken it over."""
    write(world.data, {name: text})
    until(lambda: seen(world.service.own_code.state()), f"the edit of {name} is seen")
