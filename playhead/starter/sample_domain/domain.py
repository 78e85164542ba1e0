"""The domain sample-domain: its events, and what is done with them.

Every command imports this module, so it stays cheap: projection and worker are named, and imported when they run.
"""

import msgspec
from playhead import Domain

sample_domain = Domain("sample-domain", migrations="migrations")
stream = sample_domain.stream("sample-domain")


@stream.event("sample-domain.requested", subject="sample-domain/{id}")
class Requested(msgspec.Struct, frozen=True):
    """Somebody asks for an answer."""

    id: str
    text: str


@stream.event("sample-domain.answered", subject="sample-domain/{id}")
class Answered(msgspec.Struct, frozen=True):
    """The worker has answered."""

    id: str
    answer: str


GREETING = sample_domain.setting("SAMPLE_DOMAIN_GREETING", "Hello", "What answers begin with.")

sample_domain.projection("sample-domain-answers", "sample_domain.answers:Answers", reads=[Answered])
sample_domain.worker("sample-domain-answer", "sample_domain.answering:answer", on=Requested, ends=[Answered])
