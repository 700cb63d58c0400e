-- tool: alembic 1.20.1 SQLAlchemy 2.1.9
-- captured: 2026-11, by a relay before PostgreSQL
-- ran: tests/everyday/with_alembic.py

-- @ create_all
CREATE TABLE authors (
	id SERIAL NOT NULL, 
	name VARCHAR(80) NOT NULL, 
	born DATE, 
	PRIMARY KEY (id)
)

-- @ create_all
CREATE INDEX ix_authors_name ON authors (name)

-- @ create_all
CREATE TABLE books (
	id SERIAL NOT NULL, 
	title VARCHAR NOT NULL, 
	told JSON NOT NULL, 
	price NUMERIC(8, 2) NOT NULL, 
	author_id INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (title), 
	FOREIGN KEY(author_id) REFERENCES authors (id)
)

-- @ autogenerate
ALTER TABLE books ADD COLUMN pages INTEGER DEFAULT '0' NOT NULL

-- @ autogenerate
CREATE INDEX books_pages ON books (pages)

-- @ autogenerate
ALTER TABLE authors ALTER COLUMN name TYPE VARCHAR(120)

-- @ autogenerate
ALTER TABLE books ADD CONSTRAINT pages_positive CHECK (pages >= 0)

-- @ autogenerate
ALTER TABLE books DROP CONSTRAINT pages_positive

-- @ versions
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
)

-- @ drop_all
DROP TABLE books

-- @ drop_all
DROP TABLE authors
