GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {writer};
GRANT SELECT ON {table} TO {reader};
