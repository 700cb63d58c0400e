"""What programs in JavaScript send: pg, Knex, Sequelize and TypeORM; their packages come from npm at the first run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from told import tell

PACKAGES = ("pg@8.23.1", "knex@3.3.0", "sequelize@6.37.8", "typeorm@1.1.1", "reflect-metadata@0.2.2")
ROOM = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "taprail" / "clients" / "node"
if not (ROOM / "node_modules" / "typeorm").is_dir():
    ROOM.mkdir(parents=True, exist_ok=True)
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", ROOM, *PACKAGES], check=True)
PROGRAM = Path(__file__).with_name("with_node.js")
done = subprocess.run(["node", PROGRAM], env={**os.environ, "NODE_PATH": str(ROOM / "node_modules")}, text=True)
tell("node", done.returncode)
done.check_returncode()
