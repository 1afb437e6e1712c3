"""Sends an email over SMTP.

```yaml
- name: told
  type: email
  email:
    host: smtp.example
    secret: mailbox
    from: "Reports <reports@example.org>"
    to: ["{{ __input__.owner }}", team@example.org]
    subject: "{{ open | length }} open tickets"
    text: "See the attached file."
    attachments: [output/tickets.csv]
```

The result is `{message_id, recipients, answer}`: what the server said when it took the message.

`tls: starttls` (the default, port 587) begins in the clear and must become TLS, `tls: ssl` (port 465) is TLS from the
first byte, `tls: none` (port 25) is for servers of the own machine or net: a password is never sent over it. `secret`
is a credential (user name and password).

With `text` and `html` the reader's program shows the one it can. Attachments are files below the data folder. Addresses
are `name@host` or `Name <name@host>`; line breaks in addresses, names and the subject are refused, so nothing can add a
header. The recipients of `bcc` stand nowhere in the message.

If the server refuses one recipient, nothing is sent to anybody: the error `email_recipient_refused` names them all. All
errors carry the server's number and text in `details`.

The step is not repeatable: after a crash it is in doubt, unless it has `on_interrupt: rerun`. `retry` applies where
the server certainly did not take the message. If the connection breaks after the message was sent and before the
answer came, the error is `email_unclear` and there is no further try. The Message-ID is the same in every attempt, so
mail programs can tell that two are one.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from flow_processor.factory import step_type
from flow_processor.spec.base import Spec, Texts
from flow_processor.step import StepContext, StepResult


class AttachmentSpec(Spec):
    """A file that goes with the message."""

    path: Annotated[str, Field(min_length=1, max_length=1000)]
    """The file, relative to DATA_PATH. A template."""
    name: str | None = None
    """What it is called in the message; default: the file's name. A template."""
    type: Annotated[str, Field(pattern=r"^[a-z]+/[A-Za-z0-9.+-]+$")] | None = None
    """Its media type, like `text/csv`; default: by the name's ending."""


class EmailOptions(Spec):
    """Sends an email over SMTP."""

    host: Annotated[str, Field(min_length=1, max_length=255)]
    """The SMTP server. A template."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Its port; default: 587 with starttls, 465 with ssl, 25 with none."""
    tls: Literal["starttls", "ssl", "none"] = "starttls"
    """How the connection is protected."""
    verify: bool | str = True
    """Check the server's certificate. A text is the path of a file below the data folder with the certificates to
    trust."""
    secret: str | None = None
    """Name of the secret with user name and password."""
    from_: Annotated[str, Field(alias="from", min_length=1)]
    """The sender. A template."""
    to: Texts = ()
    """Recipients; a text, or a list. Templates; one that is a whole list counts as its elements."""
    cc: Texts = ()
    """Recipients of a copy. Templates."""
    bcc: Texts = ()
    """Recipients that the others do not see. Templates."""
    reply_to: str | None = None
    """Where answers go. A template."""
    subject: str = ""
    """The subject, one line. A template."""
    text: str | None = None
    """The message as plain text. A template."""
    html: str | None = None
    """The message as HTML. A template."""
    attachments: Annotated[tuple[str | AttachmentSpec, ...], Field(max_length=100)] = ()
    """Files below the data folder: paths, or mappings."""

    @model_validator(mode="after")
    def _consistent(self) -> EmailOptions:
        if not (self.to or self.cc or self.bcc):
            raise ValueError("'to' is missing: there is no recipient ('cc' and 'bcc' would do, too)")
        if self.text is None and self.html is None and not self.attachments:
            raise ValueError("'text' or 'html' is missing")
        if self.secret is not None and self.tls == "none":
            raise ValueError(
                "a password is not sent without TLS; use tls: starttls or ssl, or leave 'secret' out"
            )
        return self


@step_type("email", repeatable=False)
def run(options: EmailOptions, context: StepContext) -> StepResult:
    """Send the message. Raises EmailError and PathRefused."""
    # Here: most workers send no mail and should start fast.
    from flow_processor.connections import mail_message, smtp

    letter = mail_message.Letter(context, sender=options.from_)
    for header, texts in (("To", options.to), ("Cc", options.cc), ("Bcc", options.bcc)):
        letter.add_recipients(header, texts)
    letter.add_headers(subject=options.subject, reply_to=options.reply_to)
    letter.add_body(text=options.text, html=options.html)
    for attachment in options.attachments:
        spec = AttachmentSpec(path=attachment) if isinstance(attachment, str) else attachment
        letter.attach(spec.path, name=spec.name, kind=spec.type)
    server = smtp.MailServer(
        options.host, options.port, tls=options.tls, verify=options.verify, secret=options.secret
    )
    answer = server.deliver(letter.sender, letter.recipients, letter.as_bytes(), context)
    return StepResult({"message_id": letter.message_id, "recipients": letter.recipients, "answer": answer})
