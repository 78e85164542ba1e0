-- Where the role of one consumer may go, and nothing else; what it may do with tables is granted on each.
REVOKE ALL ON DATABASE {database} FROM {role} CASCADE;
REVOKE ALL ON SCHEMA {schema} FROM {role} CASCADE;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE ALL ON TABLES FROM {role} CASCADE;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE ALL ON SEQUENCES FROM {role} CASCADE;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} REVOKE ALL ON TABLES FROM {role} CASCADE;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} REVOKE ALL ON SEQUENCES FROM {role} CASCADE;
GRANT CONNECT ON DATABASE {database} TO {role};
GRANT USAGE ON SCHEMA {schema} TO {role};
ALTER ROLE {role} IN DATABASE {database} SET search_path = {schema};
