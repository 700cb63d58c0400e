"""The tools whose statements are captured: the clients of `tests/clients`, and more with programs here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.clients.catalogue import CLIENTS, SQLALCHEMY, Client, stack_psql

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Tool(Client):
    """A client whose program lies here. `said` is its version, where that isn't Python's to say."""

    said: str = ""

    @property
    def program(self) -> Path:
        return HERE / f"with_{self.name}.py"


MORE = (
    Tool("pgadmin", "pgadmin", ("pgadmin4==9.18",), ("pgadmin4", "psycopg")),
    Tool("django_admin", "django", CLIENTS["django"].packages, ("Django",)),
    Tool("alembic", "alembic", (*SQLALCHEMY, "alembic==1.20.1"), ("alembic", "SQLAlchemy")),
    Tool("node", "python", SQLALCHEMY, (), said="pg 8.23.1, Knex 3.3.0, Sequelize 6.37.8, TypeORM 1.1.1"),
    Tool("pg_dump", "python", SQLALCHEMY, (), stack_psql, said="pg_dump, vacuumdb and reindexdb 18.6"),
)
TOOLS: dict[str, Client] = {
    **{name: client for name, client in CLIENTS.items() if name != "psql_tls"},
    **{tool.name: tool for tool in MORE},
}
