-- One row a record. `sequence` counts from 1 without a gap; `checksum` covers every other column.
CREATE TABLE record (
  sequence    INTEGER PRIMARY KEY,
  kind        TEXT    NOT NULL,
  version     INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  engine      TEXT    NOT NULL,
  checksum    BLOB    NOT NULL,
  payload     BLOB    NOT NULL
) STRICT;
CREATE INDEX record_received ON record (received_at);
CREATE TABLE journal (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
