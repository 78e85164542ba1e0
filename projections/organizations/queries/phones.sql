SELECT * FROM phones WHERE organization_id = %(id)s::uuid ORDER BY id
