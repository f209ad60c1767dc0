BUDGET_S = 330.0


def run(report, device, budget_s, *, rehearse): ...
