-- Where each role may go. The path is for queries by hand, and for connections through a pooler of transactions.
GRANT CONNECT ON DATABASE {database} TO {owner}, {writer}, {reader};
GRANT CREATE, TEMPORARY ON DATABASE {database} TO {owner};
GRANT TEMPORARY ON DATABASE {database} TO {writer};
GRANT USAGE, CREATE ON SCHEMA {schema} TO {owner};
GRANT USAGE ON SCHEMA {schema} TO {writer}, {reader};
ALTER ROLE {owner} IN DATABASE {database} SET search_path = {schema};
ALTER ROLE {writer} IN DATABASE {database} SET search_path = {schema};
ALTER ROLE {reader} IN DATABASE {database} SET search_path = {schema};
-- Who may make roles, but is no superuser, must be the owner to give it tables and to say what others may do with new ones.
GRANT {owner} TO CURRENT_USER;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema}
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {writer};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT USAGE, SELECT ON SEQUENCES TO {writer};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT SELECT ON TABLES TO {reader};
