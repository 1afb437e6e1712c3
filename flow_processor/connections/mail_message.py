"""An email as it is sent: addresses and headers that hold what they say and nothing more, texts, files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from email.errors import HeaderParseError
from email.headerregistry import Address as MailAddress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, getaddresses
from mimetypes import guess_type

from flow_processor.connections.smtp import EmailError
from flow_processor.paths import inside, open_regular
from flow_processor.step import JsonValue, StepContext

_MAX_BYTES = 40 * 1024 * 1024
"""Largest message, attachments and all; servers take 10 to 50 MiB."""


class Letter:
    """One message. Everything it is given is a template. Raises EmailError and PathRefused."""

    def __init__(self, context: StepContext, *, sender: str) -> None:
        self._context = context
        self._message = EmailMessage()
        addresses = self._addresses(sender, what="from")
        if len(addresses) != 1:
            raise EmailError("from must be one address", code="email_address_invalid")
        self._message["From"] = addresses
        self.sender = addresses[0].addr_spec
        self.recipients: list[str] = []
        """Everybody it goes to, each once."""
        # The same for every attempt of this visit of the step, and for no other.
        visit = f"{context.data.get('__run_id__', '')}/{context.path}"
        self.message_id = f"<{hashlib.sha256(visit.encode()).hexdigest()[:40]}@{addresses[0].domain}>"

    def add_recipients(self, header: str, texts: Sequence[str]) -> None:
        """It goes to these; the header names them, unless it is Bcc."""
        addresses = [address for text in texts for address in self._addresses(text, what=header.lower())]
        new = [address.addr_spec for address in addresses]
        self.recipients += [address for address in dict.fromkeys(new) if address not in self.recipients]
        if addresses and header != "Bcc":
            self._message[header] = addresses

    def add_headers(self, *, subject: str, reply_to: str | None) -> None:
        """All other headers."""
        if not self.recipients:
            message = "there is no recipient: to, cc and bcc are empty"
            raise EmailError(message, code="email_address_invalid")
        if reply_to is not None:
            self._message["Reply-To"] = self._addresses(reply_to, what="reply_to")
        self._message["Subject"] = _line(self._context.render(subject), what="subject")
        self._message["Date"] = format_datetime(self._context.now())
        self._message["Message-ID"] = self.message_id

    def add_body(self, *, text: str | None, html: str | None) -> None:
        """What is to be read, in one form or two."""
        if text is not None or html is None:
            self._message.set_content(_shown(self._context.render(text)))
            if html is not None:
                self._message.add_alternative(_shown(self._context.render(html)), subtype="html")
        else:
            self._message.set_content(_shown(self._context.render(html)), subtype="html")

    def attach(self, path: str, *, name: str | None, kind: str | None) -> None:
        """A file below the data folder; `kind` is its media type."""
        folders = self._context.folders
        relative = _line(self._context.render(path), what="attachment")
        file_path = inside(folders.data, relative, what="attachment", private=folders.private)
        shown = file_path.name
        if name is not None:
            shown = _line(self._context.render(name), what="attachment name")
        try:
            with open_regular(file_path, "rb", below=folders.data) as file:
                data = file.read(_MAX_BYTES + 1)
        except OSError as error:
            is_there = file_path.exists()
            reason = error.strerror if is_there else "there is no such file in the data folder"
            raise EmailError(f"attachment {relative!r}: {reason}", code="email_attachment") from error
        if len(data) > _MAX_BYTES:
            message = f"attachment {relative!r} is larger than {_MAX_BYTES:,} bytes"
            raise EmailError(message, code="email_too_large")
        main, _, sub = (kind or guess_type(shown)[0] or "application/octet-stream").partition("/")
        self._message.add_attachment(data, maintype=main, subtype=sub, filename=shown)

    def as_bytes(self) -> bytes:
        """The message as a server takes it."""
        data = self._message.as_bytes(policy=SMTP)
        if len(data) > _MAX_BYTES:
            message = f"the message has {len(data):,} bytes; {_MAX_BYTES:,} are allowed"
            raise EmailError(message, code="email_too_large")
        return data

    def _addresses(self, template: str, *, what: str) -> list[MailAddress]:
        rendered = self._context.render(template)
        texts = rendered if isinstance(rendered, list) else [rendered]
        return [address for text in texts for address in _parsed(_line(text, what=what), what=what)]


def _parsed(text: str, *, what: str) -> list[MailAddress]:
    found = []
    for name, address in getaddresses([text]):
        try:
            parsed = MailAddress(name, addr_spec=address)
        except (ValueError, HeaderParseError, IndexError):
            parsed = MailAddress()
        if not parsed.username or not parsed.domain:
            message = f"{what}: {text!r} is no address (name@host, or Name <name@host>)"
            raise EmailError(message, code="email_address_invalid")
        found.append(parsed)
    return found


def _line(value: JsonValue, *, what: str) -> str:
    """A text of one line, for a header."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise EmailError(f"{what} must be a text, not {type(value).__name__}", code="email_header_invalid")
    text = str(value)
    if any(character < " " or character in "\x7f\x85\u2028\u2029" for character in text):
        raise EmailError(f"{what} has a line break or a control character in it", code="email_header_invalid")
    return text


def _shown(value: JsonValue) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
