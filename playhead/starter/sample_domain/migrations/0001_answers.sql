-- One row an answer. A migration that was applied is never altered: add another one, 0002_.
CREATE TABLE sample_domain_answers (
    id text PRIMARY KEY,
    answer text NOT NULL,
    event_order text COLLATE "C" NOT NULL
);
