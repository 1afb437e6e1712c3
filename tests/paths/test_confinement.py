"""No relative text, however built, leads out of its folder."""

import contextlib
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flow_processor.errors import PathRefused
from flow_processor.paths import components, inside, open_regular, write_atomic

FENCE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """data/ with a file, private places, and symlinks to everywhere; a secret lies beside it."""
    data = tmp_path / "data"
    (data / "sub").mkdir(parents=True)
    (data / "flows").mkdir()
    (data / "a.txt").write_text("inside")
    (data / "secrets.yml").write_text("private")
    (data / "flows" / "f.yml").write_text("private")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.txt").write_text("outside")
    (data / "way_out").symlink_to(outside)
    (data / "file_out").symlink_to(outside / "a.txt")
    (data / "up").symlink_to("..")
    (data / "loop").symlink_to("loop")
    (data / "near").symlink_to("sub")
    (data / "sly").symlink_to("secrets.yml")
    return data


@pytest.mark.parametrize(
    "relative",
    [
        "",
        ".",
        "/",
        "//x",
        "/etc/passwd",
        "..",
        "../outside/a.txt",
        "sub/../../outside/a.txt",
        "sub/..",
        "..\\outside\\a.txt",
        "\\outside",
        "\\\\server\\share",
        "C:/windows",
        "c:x",
        "a\0b",
        "a\nb",
        "\ud800",
        "way_out/a.txt",
        "file_out",
        "up/outside/a.txt",
        "up",
        "loop",
        "loop/x",
        "way_out/new/deep/file",
    ],
)
def test_ways_out_are_refused(folder: Path, relative: str) -> None:
    with pytest.raises(PathRefused) as refused:
        inside(folder, relative, what="file.path")
    assert refused.value.code == "path_refused"
    assert refused.value.message.startswith("file.path ")
    refused.value.message.encode()


@pytest.mark.parametrize(
    ("relative", "leads_to"),
    [
        ("a.txt", "a.txt"),
        ("./sub//x.txt", "sub/x.txt"),
        ("sub\\x.txt", "sub/x.txt"),
        ("new/deep/x.txt", "new/deep/x.txt"),
        ("near/x.txt", "sub/x.txt"),
        ("..a/b..", "..a/b.."),
        ("report 12:30 ä.txt", "report 12:30 ä.txt"),
    ],
)
def test_ways_inside_are_taken(folder: Path, relative: str, leads_to: str) -> None:
    assert inside(folder, relative, what="p") == folder.resolve() / leads_to


@pytest.mark.parametrize(
    "relative", ["secrets.yml", "./secrets.yml", "sly", "flows", "flows/f.yml", "flows/new/x"]
)
def test_private_places_are_refused_by_any_name(folder: Path, relative: str) -> None:
    with pytest.raises(PathRefused, match="private"):
        inside(folder, relative, what="p", private=[folder / "secrets.yml", folder / "flows"])


def test_a_hard_link_to_a_private_file_is_refused(folder: Path) -> None:
    os.link(folder / "secrets.yml", folder / "innocent.txt")
    with pytest.raises(PathRefused, match="private"):
        inside(folder, "innocent.txt", what="p", private=[folder / "secrets.yml"])


def test_the_folder_itself_may_be_reached_by_a_symlink(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(folder)
    path = inside(tmp_path / "alias", "a.txt", what="p")
    with open_regular(path, "rb", below=tmp_path / "alias") as file:
        assert file.read() == b"inside"


PIECES = st.sampled_from(
    [
        "..",
        ".",
        "",
        "/",
        "\\",
        "sub",
        "near",
        "way_out",
        "up",
        "file_out",
        "loop",
        "a.txt",
        "C:",
        "\0",
        "~",
        "flows",
    ]
)
RELATIVES = st.one_of(
    st.lists(st.one_of(PIECES, st.text(max_size=4)), max_size=6).map("/".join),
    st.lists(st.one_of(PIECES, st.text(max_size=4)), max_size=6).map("".join),
    st.text(max_size=20),
)


@FENCE
@given(relative=RELATIVES)
def test_whatever_is_accepted_lies_inside(folder: Path, relative: str) -> None:
    """Reading never gives the outside file, writing never changes anything outside or private."""
    private = [folder / "flows", folder / "secrets.yml"]
    try:
        path = inside(folder, relative, what="p", private=private)
    except PathRefused:
        return
    real = Path(os.path.realpath(folder)) / "/".join(components(relative, what="p"))
    assert os.path.realpath(real) == str(path)
    assert path.is_relative_to(folder.resolve())
    try:
        write_atomic(path, b"written", below=folder)
        with open_regular(path, "rb", below=folder) as file:
            assert file.read() == b"written"
    except (PathRefused, OSError):
        pass
    assert (folder.parent / "outside" / "a.txt").read_text() == "outside"
    assert sorted(entry.name for entry in (folder.parent / "outside").iterdir()) == ["a.txt"]
    assert sorted(entry.name for entry in folder.parent.iterdir()) == ["data", "outside"]
    assert (folder / "secrets.yml").read_text() == "private"
    assert (folder / "flows" / "f.yml").read_text() == "private"


def test_a_symlink_that_comes_in_between_is_not_followed(folder: Path) -> None:
    """The folder on the way is swapped for a symlink after `inside` has looked, again and again."""
    outside = folder.parent / "outside"
    place, aside = folder / "swap", folder / "aside"
    place.mkdir()
    (place / "a.txt").write_text("inside")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            place.rename(aside)
            with contextlib.suppress(FileExistsError):  # the writer makes missing folders
                place.symlink_to(outside)
                place.unlink()
            shutil.rmtree(place, ignore_errors=True)
            with contextlib.suppress(OSError):
                aside.rename(place)
            if not place.exists():
                place.mkdir()
                (place / "a.txt").write_text("inside")
            shutil.rmtree(aside, ignore_errors=True)

    swapper = threading.Thread(target=swap)
    swapper.start()
    read = refused = 0
    end = time.monotonic() + 30
    try:
        # On a busy machine the swapper may rest for thousands of tries with the symlink in place.
        while (read < 10 or refused < 3_000) and time.monotonic() < end:
            try:
                path = inside(folder, "swap/a.txt", what="p")
                with open_regular(path, "rb", below=folder) as file:
                    assert file.read() == b"inside"
                read += 1
                write_atomic(path, b"inside", below=folder)
            except (PathRefused, OSError):
                refused += 1
    finally:
        stop.set()
        swapper.join()
    assert min(read, refused) > 0
    assert (outside / "a.txt").read_text() == "outside"
    assert len(list(outside.iterdir())) == 1
