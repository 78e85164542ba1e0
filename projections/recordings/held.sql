SELECT id, event_order FROM meetings
