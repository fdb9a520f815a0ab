"""How well faults are found: measured on a simulated fleet, on the series of NAB, and on what is stored.

What scores is pure: `scoring` compares faults with episodes, `nab_scoring` scores as NAB does. `simulated`, `nab` and `stored`
bring the data.
"""
