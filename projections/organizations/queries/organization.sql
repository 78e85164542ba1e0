SELECT * FROM organizations WHERE id = %(id)s::uuid
