"""The domain `organizations`: what job results say about organizations, as tables and as a data set."""

from playhead.streams.domains.domain import Domain
from playhead.streams.jobs.events import JobCompleted

organizations = Domain("organizations", migrations="../projections/organizations/migrations", requires=["jobs"])

organizations.projection(
    "organizations",
    "playhead.projections.organizations.projection:Organizations",
    reads=[JobCompleted],
    verification="playhead.projections.organizations.verification:OrganizationsVerification",
)
organizations.command("playhead.organizations.commands:organizations_app", help="Find organizations in job results.")
organizations.command(
    "playhead.organizations.publish:publish",
    name="publish",
    help="Write the data set: organizations as SQLite, NDJSON and GeoJSON, the daily files, and pages of counts.",
)
