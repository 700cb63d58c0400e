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
    statement_name_bytes name of a prepared statement or a portal
    statements_in_flight messages that the server owes an answer for; above it the client isn't read until answers
                         come. The server keeps back up to 8 KiB of answers until a Sync, which may be those to more
                         than 1,000 messages: a smaller limit could wait for ever

    Times are seconds, 0 for no limit; those of a session are looked at once a second.
    first_packet_seconds until the client has said who it is, TLS included: PostgreSQL clients say it at once
    startup_seconds      from the connection's start until the session is open, as authentication_timeout
    idle_seconds         without a transaction and without a statement (57P05, as idle_session_timeout)
    idle_in_transaction_seconds
                         inside a transaction, whose locks others wait for (25P03)
    statement_seconds    of one statement, its rows included; it is cancelled (57014). Waiting for an approval is not
                         running
    expiry_grace_seconds what runs when the person's token expires, or an open transaction, may go on for so long
    keepalive_seconds    silence on a TCP connection after which the system asks whether the peer is still there; one
                         that doesn't answer is given up after twice as long

    Counts are of one proxy.
    cancels_per_second   CancelRequests that the tap looks at, all sessions together
    arrivals             connections that haven't signed in. Above it the oldest that hasn't said who it is makes room
    sessions             open sessions
    sessions_per_person  open sessions of one person or service; 0 for no limit
    sign_ins_per_minute  of one person or service: each costs the server a process; 0 for no limit
    failed_sign_ins_per_minute
                         of one client address and user name; then it isn't asked any more until some are forgotten.
                         Passwords can't be guessed at this rate; a program with an old token doesn't notice. 0 for no
                         limit
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
    statement_name_bytes: int = 1024
    statements_in_flight: int = 20_000
    first_packet_seconds: float = 15.0
    startup_seconds: float = 60.0
    idle_seconds: float = 0.0
    idle_in_transaction_seconds: float = 0.0
    statement_seconds: float = 0.0
    expiry_grace_seconds: float = 0.0
    keepalive_seconds: int = 60
    cancels_per_second: float = 50.0
    arrivals: int = 2_000
    sessions: int = 5_000
    sessions_per_person: int = 0
    sign_ins_per_minute: int = 0
    failed_sign_ins_per_minute: int = 30
