INSERT INTO sources SELECT * FROM jsonb_populate_recordset(NULL::sources, %s::jsonb)
