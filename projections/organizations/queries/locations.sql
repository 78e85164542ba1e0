SELECT * FROM locations WHERE organization_id = %(id)s::uuid ORDER BY id
