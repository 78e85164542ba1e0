INSERT INTO invoices_paid (number, amount, currency, paid_on, event_id, event_order)
VALUES (%(number)s, %(amount)s, %(currency)s, %(paid_on)s, %(event_id)s, %(event_order)s)
ON CONFLICT (number) DO UPDATE SET
    amount = excluded.amount,
    currency = excluded.currency,
    paid_on = excluded.paid_on,
    event_id = excluded.event_id,
    event_order = excluded.event_order
WHERE invoices_paid.event_order < excluded.event_order
