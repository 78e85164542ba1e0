-- One row an invoice, as its latest event says.
CREATE TABLE invoices_paid (
    number text PRIMARY KEY,
    amount bigint NOT NULL, -- in the currency's smallest unit
    currency text NOT NULL,
    paid_on date NOT NULL,
    event_id text NOT NULL,
    event_order text COLLATE "C" NOT NULL
);

CREATE VIEW revenue AS
SELECT paid_on, currency, count(*) AS invoices, sum(amount)::bigint AS amount
FROM invoices_paid
GROUP BY paid_on, currency;
