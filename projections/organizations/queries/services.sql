SELECT * FROM services WHERE organization_id = %(id)s::uuid ORDER BY id
