-- Whatever the writer and the reader may do here beyond what the grants after this give them, also through what they gave to others.
REVOKE ALL ON DATABASE {database} FROM {writer}, {reader} CASCADE;
REVOKE ALL ON SCHEMA {schema} FROM {writer}, {reader} CASCADE;
GRANT {owner} TO CURRENT_USER;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE ALL ON TABLES FROM {writer}, {reader} CASCADE;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE ALL ON SEQUENCES FROM {writer}, {reader} CASCADE;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} REVOKE ALL ON TABLES FROM {writer}, {reader} CASCADE;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} REVOKE ALL ON SEQUENCES FROM {writer}, {reader} CASCADE;
