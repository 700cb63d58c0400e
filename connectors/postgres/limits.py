"""What a PostgreSQL session may ask of the tap's memory and time."""

from __future__ import annotations

from msgspec import Struct

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


class Limits(Struct, frozen=True):
    """Sizes are bytes of one message, its length word included; a larger message ends the session.

    startup_bytes        the first packets, as PostgreSQL's MAX_STARTUP_PACKET_LENGTH
    password_bytes       a password message: an access token with many groups is large
    query_bytes          Query and Parse: the text is parsed before it is sent on
    bind_bytes           Bind: its values are recorded, so they are held in memory as a whole
    small_bytes          Describe, Execute, Close, Sync, Flush, CopyDone, CopyFail, Terminate
    data_bytes           CopyData and DataRow, which flow through; PostgreSQL's own largest is 1 GiB
    masked_row_bytes     a DataRow that is rewritten must be whole in memory
    answer_bytes         any other message of the server
    waiting_bytes        what a client may send ahead while its statement is held
    high_water_bytes     written but not yet taken by the peer: above it, the other side isn't read
    names                prepared statements of a session, and its portals
    startup_seconds      from the connection's start until the session is open
    statement_name_bytes name of a prepared statement or a portal
    cancels_per_second   CancelRequests that the tap passes on, all sessions together
    sessions             open sessions of one proxy
    """

    startup_bytes: int = 10_000
    password_bytes: int = 64 * KIB
    query_bytes: int = 16 * MIB
    bind_bytes: int = 256 * MIB
    small_bytes: int = 64 * KIB
    data_bytes: int = GIB
    masked_row_bytes: int = 64 * MIB
    answer_bytes: int = 16 * MIB
    waiting_bytes: int = MIB
    high_water_bytes: int = 256 * KIB
    names: int = 10_000
    startup_seconds: float = 60.0
    statement_name_bytes: int = 1024
    cancels_per_second: float = 50.0
    sessions: int = 1000
