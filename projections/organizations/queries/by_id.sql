SELECT id FROM organizations
WHERE id BETWEEN rpad(replace(%(id)s, '-', ''), 32, '0')::uuid AND rpad(replace(%(id)s, '-', ''), 32, 'f')::uuid
LIMIT 2
