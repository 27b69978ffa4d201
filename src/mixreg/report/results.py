from mixreg.report.groups import Group, RunResult  # noqa
__all__ = ["Group", "RunResult"]
