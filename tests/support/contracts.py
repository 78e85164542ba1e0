"""The import contract of the domains: core imports none of them, and they do not import each other."""

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class DomainsContract(Contract):
    """`domains` are the names of folders, below the package or one of its floors. `readers` may import what they name,
    written `reader -> read`; `leaves` are packages that nobody imports, which may import any of them.
    """

    domains = fields.ListField(subfield=fields.StringField())
    readers = fields.ListField(subfield=fields.StringField(), required=False)
    leaves = fields.ListField(subfield=fields.StringField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        allowed = {tuple(reader.split(" -> ")) for reader in self.readers or ()}
        broken = []
        for importer in graph.modules:
            if any(importer.startswith(leaf) for leaf in self.leaves or ()):
                continue
            for imported in graph.find_modules_directly_imported_by(importer):
                pair = self._domain(importer), self._domain(imported)
                if pair[1] is not None and pair[0] != pair[1] and pair not in allowed:
                    broken.append(f"{importer} -> {imported}")
        return ContractCheck(kept=not broken, metadata={"broken": sorted(broken)})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for line in check.metadata["broken"]:
            output.print_error(line)

    def _domain(self, module: str) -> str | None:
        return next((part for part in module.split(".")[1:3] if part in self.domains), None)
