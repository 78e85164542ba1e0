INSERT INTO playhead_installation (id) VALUES (%s)
ON CONFLICT (one) DO UPDATE SET id = EXCLUDED.id;
