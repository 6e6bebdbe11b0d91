"""Writes bounds.csv: one-sided Clopper-Pearson bounds and Cohen et al.'s radii, by mpmath to 30 digits and by SciPy.

    pip install scipy==1.17.1 mpmath==1.4.1 && python bounds.py > bounds.csv

Columns: n, successes, alpha; the upper bound q = 1 - p on the probability of a failure and z = Phi^-1(p), both exact to the digits
given; p and z by SciPy, as a peer (beta.ppf; norm.isf of beta.isf, because norm.ppf near 1 loses up to 1e-12).
"""
import mpmath as mp
from scipy.stats import beta, norm

mp.mp.dps = 60


def tail(n, m, q):  # P(at most m failures)
    p = 1 - q
    term = mp.binomial(n, m) * q**m * p ** (n - m)
    total = term
    for j in range(m, 0, -1):
        term = term * j / (n - j + 1) * p / q
        total += term
        if term < total * mp.mpf(10) ** -55:
            break
    return total


def bound(n, m, alpha):
    a = mp.mpf(alpha)  # the double, exactly
    lo, hi = mp.mpf(0), mp.mpf(1)
    guess = mp.mpf(1 - beta.ppf(alpha, n - m, m + 1))
    for width in (mp.mpf(10) ** -9, mp.mpf(10) ** -6):  # SciPy's value as a first bracket, if it is one
        l, h = guess * (1 - width), min(guess * (1 + width), 1 - mp.mpf(10) ** -30)
        if l > 0 and tail(n, m, l) > a >= tail(n, m, h):
            lo, hi = l, h
            break
    while hi - lo > hi * mp.mpf(10) ** -40:
        mid = (lo + hi) / 2
        if tail(n, m, mid) > a:
            lo = mid
        else:
            hi = mid
    return hi


def quantile(q):  # z with P(Z > z) = q
    return mp.sqrt(2) * mp.erfinv(1 - 2 * q) if q > mp.mpf(10) ** -20 else mp.findroot(lambda z: mp.erfc(z / mp.sqrt(2)) / 2 - q, 9)


print("n,successes,alpha,q,z,scipy_p,scipy_z")
for n in (10, 11, 100, 1000, 10_000, 100_000):
    for alpha in (0.001, 0.01, 0.05, 0.5):
        for share in (0.5, 0.51, 0.6, 0.75, 0.9, 0.99, 0.999, 1.0):
            k = round(share * n)
            q = bound(n, n - k, alpha)
            p = float(beta.ppf(alpha, k, n - k + 1))
            print(",".join([str(n), str(k), repr(alpha), mp.nstr(q, 30), mp.nstr(quantile(q), 30), repr(p), repr(float(norm.isf(beta.isf(alpha, n - k + 1, k))))]))
