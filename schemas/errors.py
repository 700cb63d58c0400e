"""Every error that taprail raises on purpose.

TaprailError
├── SettingsError        a configuration that can't be used
├── PolicyError          a policy that can't be used
├── RefusedError         a statement, a record or a request that may not pass
├── ProtocolError        bytes that are not what the protocol says
├── SpoolError           the spool can't take or give a record
├── SignatureError       a signed record that doesn't verify
├── RecordError          a record that doesn't fit its schema
├── LogError             the audit log is damaged, or would be
└── StackError           a part of the stack that doesn't start or answer
"""

from __future__ import annotations


class TaprailError(Exception):
    """What happened, to what; `hint` says what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class SettingsError(TaprailError):
    """A configuration that can't be used: the message names the setting's path."""


class PolicyError(TaprailError):
    """A policy that can't be used; `file`, `line` and `column` (from 1, 0 for none) say where, `excerpt` shows it."""

    def __init__(
        self, message: str, *, file: str = "", line: int = 0, column: int = 0, excerpt: str = "", hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.file, self.line, self.column, self.excerpt = file, line, column, excerpt

    def __str__(self) -> str:
        """As compilers say it, with a caret below the place."""
        place = ":".join([self.file, *(str(n) for n in (self.line, self.column) if n)])
        said = f"{place}: {self.message}" if place else self.message
        if self.excerpt and self.column:
            said += f"\n  {self.excerpt}\n  {' ' * (self.column - 1)}^"
        return f"{said}\n  {self.hint}" if self.hint else said


class RefusedError(TaprailError):
    """A statement, a record or a request that may not pass.

    `position` is the character of a statement that it is about, from 1; 0 where it is about the whole.
    """

    position = 0


class ProtocolError(TaprailError):
    """Bytes that are not what the protocol says; the connection that sent them ends."""


class SpoolError(TaprailError):
    """The spool can't take or give a record."""


class SignatureError(TaprailError):
    """A signed record that doesn't verify."""


class RecordError(TaprailError):
    """A record that doesn't fit its schema."""


class LogError(TaprailError):
    """The audit log is damaged, or would be."""


class StackError(TaprailError):
    """A part of the stack that doesn't start or answer."""
