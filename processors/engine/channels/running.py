"""Mean and variance of an exponential window.

With weight w of the newest value: mean <- mean + w d and var <- (1 - w)(var + w d^2), where d is the distance from the mean
before (T. Finch, "Incremental calculation of weighted mean and variance", 2009). With w = max(1/n, 1/window) the first
`window` values have Welford's plain mean and variance.
"""

from schemas.compiled import compiled_borrowing


@compiled_borrowing
def learn(state, weight, value):
    """Take a value into `mean` and `var` of a state."""
    distance = value - state.mean
    state.mean += weight * distance
    state.var = (1.0 - weight) * (state.var + weight * distance * distance)
