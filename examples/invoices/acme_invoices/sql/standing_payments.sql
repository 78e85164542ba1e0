SELECT number, event_order FROM invoices_paid WHERE number = ANY(%s)
