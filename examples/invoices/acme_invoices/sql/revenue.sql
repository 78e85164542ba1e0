SELECT paid_on, currency, invoices, amount FROM revenue ORDER BY paid_on, currency
