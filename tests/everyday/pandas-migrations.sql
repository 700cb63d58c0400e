-- tool: pandas 3.1.1 SQLAlchemy 2.1.9
-- captured: 2026-11, by a relay before PostgreSQL
-- ran: tests/clients/with_pandas.py

-- @ to_sql and back
CREATE TABLE frames (
	a BIGINT, 
	b TEXT, 
	c TIMESTAMP WITH TIME ZONE
)

-- @ at the end
DROP TABLE frames
