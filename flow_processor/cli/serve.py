"""`octospool serve`: the daemon."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flow_processor.cli.exits import ExitCode
from flow_processor.cli.options import data_path_option, load_settings, start_log
from flow_processor.cli.output import say
from flow_processor.errors import SettingsError

if TYPE_CHECKING:
    from flow_processor.api.address import Address
    from flow_processor.api.server import ApiServer
    from flow_processor.service import Service
    from flow_processor.settings import Settings

LOOK_SECONDS = 0.5
"""How often it is looked at whether the API still serves, in seconds. A signal is noticed at once."""


@click.command("serve")
@click.option("--host", help="Address to serve; default: API_HOST, else 127.0.0.1.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port, 0: any free; default: API_PORT, else 5000."
)
@click.option(
    "--grace",
    metavar="SECONDS",
    type=click.FloatRange(0, 86_400),
    help="How long runs under way may take to end when it is stopped; default: SHUTDOWN_GRACE_SECONDS, else 30.",
)
@data_path_option
def command(host: str | None, port: int | None, grace: float | None, data_path: Path | None) -> None:
    """Run the daemon: HTTP API, schedules, workers. Prints what to try next.

    Ctrl-C or SIGTERM stops it: nothing new is accepted, runs under way get --grace seconds to end, the others go on
    at the next start. A second Ctrl-C leaves at once; nothing is lost then either.

    \b
    Example:
      octospool serve --data-path demo --port 5001
    """
    from flow_processor import logs
    from flow_processor.engine.worker_start import prepare

    prepare(os.environ)  # it loads what workers need, while this process loads the rest
    settings = load_settings(data_path, api_host=host, api_port=port, shutdown_grace_seconds=grace)
    settings.create_folders()
    start_log(settings)
    try:
        _serve(settings)
    finally:
        logs.release()


def _serve(settings: Settings) -> None:
    from flow_processor.cli.interrupts import Interrupts
    from flow_processor.cli.next_steps import lines
    from flow_processor.engine.cores import keep_to_one_core
    from flow_processor.service import Service

    # Before anything starts a thread: threads stay on the cores of the one that starts them.
    service = Service(settings, worker_cores=keep_to_one_core())
    leave = "left at once; what was under way goes on at the next start"
    interrupts = Interrupts(second_says=leave, second_code=ExitCode.OK)
    # Never put back: a second signal that comes late must not turn a clean end into another one.
    interrupts.install()
    address = _bound(service)
    try:
        service.start(api_url=address.url)
        server = _serving(service, address)
    except BaseException:
        address.close()
        raise
    try:
        for line in lines(settings, address.url, service.flow_files(), windows=os.name == "nt"):
            click.echo(line)
        while server.is_alive() and not interrupts.wait(LOOK_SECONDS):
            pass
        grace = settings.shutdown_grace_seconds
        say(f"stopping; runs under way get {grace:g} s to end (a second signal leaves at once)")
        # The API answers meanwhile: who waits for a run that ends in time gets its outcome.
        service.stop(grace)
    finally:
        server.stop()
    say("stopped")


def _bound(service: Service) -> Address:
    """The API's port, before anything else begins.

    Raises DataFolderInUse, which tells more, where it is the folder's own daemon that has the port.
    """
    from flow_processor.api.address import Address

    try:
        return Address(service.settings)
    except SettingsError:
        service.data_folder.acquire("serve", detail={})
        service.data_folder.release()
        raise


def _serving(service: Service, address: Address) -> ApiServer:
    """The API, which serves from now on. What it needs is loaded only here, while workers start: a fifth of a start."""
    from flow_processor.api.server import ApiServer

    try:
        server = ApiServer(service, address)
    except BaseException:
        service.stop(0)
        raise
    server.start()
    return server
