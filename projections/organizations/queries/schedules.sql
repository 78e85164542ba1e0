SELECT * FROM schedules WHERE organization_id = %(id)s::uuid ORDER BY id
