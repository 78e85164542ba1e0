"""Whether every target that the domains declare can be imported, and is what its declaration needs."""

from collections.abc import Iterator
from typing import cast

from playhead.checks.check import Check
from playhead.streams.domains.catalogue import Catalogue
from playhead.streams.domains.domain import Domain, Target, resolve
from playhead.streams.errors import DomainInvalid, DomainNotLoaded
from playhead.wiring import refuse_other


def check_targets(catalogue: Catalogue) -> Iterator[Check]:
    """Import every target of every domain."""
    for domain in catalogue.domains:
        name = f"domain {domain.name}"
        loaded, problems = 0, list[str]()
        for who, target in _targets(catalogue, domain):
            try:
                found = resolve(target, who)
                if isinstance(found, type) and _is_projection(domain, target):
                    refuse_other(cast("type[object]", found), who)
            except (DomainNotLoaded, DomainInvalid) as error:
                problems.append(str(error))
            else:
                loaded += 1
        yield from (Check(name, "fail", problem, f"correct it in {domain.module}") for problem in problems)
        if not problems:
            yield Check(name, "ok", f"{domain.module}: what it declares can be imported ({loaded})")


def _targets(catalogue: Catalogue, domain: Domain) -> Iterator[tuple[str, Target]]:
    """Every target of a domain, with what it is declared as."""
    for projection in domain.projections.values():
        who = catalogue.described(projection.name)
        yield who, projection.target
        if projection.verification is not None:
            yield f"the verification of {who}", projection.verification
    for worker in domain.workers.values():
        for target in (worker.target, worker.handler, worker.failed, worker.lacks):
            if target is not None:
                yield catalogue.described(worker.name), target
    for clock in domain.clocks.values():
        yield catalogue.described(clock.name), clock.target
    for command in domain.commands.values():
        yield f"the command {command.name} of the domain {domain}", command.target
    for what, targets in domain.extensions.items():
        for target in targets:
            yield f"the extension {what} of the domain {domain}", target


def _is_projection(domain: Domain, target: Target) -> bool:
    return any(target is projection.target for projection in domain.projections.values())
