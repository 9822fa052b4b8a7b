"""The random numbers of atlas in Python: Philox 4x32-10 and the sequences that data and drop path take from it.

Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. Same keys, counters and use of bits as atlas/core/rng.h,
atlas/data/random.h and atlas/kernels/dropout.h, so that a script trains with the very numbers that atlas draws.
"""
import math

M32, M64 = 2 ** 32 - 1, 2 ** 64 - 1
SHUFFLE, SAMPLE, MIX = 0xD1, 0xD2, 0xD3  # what a sequence is used for


def philox(seed, stream, index):
    """Four random 32-bit words."""
    k0, k1 = seed & M32, seed >> 32
    v0, v1, v2, v3 = index & M32, index >> 32, stream & M32, stream >> 32
    for _ in range(10):
        a, b = 0xD2511F53 * v0, 0xCD9E8D57 * v2
        v0, v1, v2, v3 = (b >> 32) ^ v1 ^ k0, b & M32, (a >> 32) ^ v3 ^ k1, a & M32
        k0, k1 = (k0 + 0x9E3779B9) & M32, (k1 + 0xBB67AE85) & M32
    return v0, v1, v2, v3


class Sequence:
    """Numbers that belong to one use of one sample or batch of one epoch."""

    def __init__(self, seed, purpose, epoch, index):
        self.seed, self.stream, self.counter, self.left = seed, (purpose << 56) ^ epoch, index << 24, []

    def bits(self):
        if not self.left:
            self.left = list(philox(self.seed, self.stream, self.counter))
            self.counter += 1
        return self.left.pop(0)

    def bits64(self):
        high = self.bits()
        return (high << 32) | self.bits()

    def uniform(self, low=0.0, high=1.0):
        return low + (high - low) * ((self.bits64() >> 11) * 2.0 ** -53)

    def chance(self, p):
        return self.uniform() < p

    def below(self, n):
        return (self.bits64() * n) >> 64

    def normal(self):
        radius = math.sqrt(-2.0 * math.log(1.0 - self.uniform()))
        return radius * math.cos(2 * math.pi * self.uniform())

    def gamma(self, a):
        """Marsaglia and Tsang, 2000."""
        if a < 1:
            u = 1.0 - self.uniform()
            return self.gamma(a + 1) * u ** (1 / a)
        d = a - 1 / 3
        c = 1 / math.sqrt(9 * d)
        while True:
            x = self.normal()
            t, u = 1 + c * x, 1.0 - self.uniform()
            if t > 0 and math.log(u) < 0.5 * x * x + d * (1 - t ** 3 + 3 * math.log(t)):
                return d * t ** 3

    def beta(self, a, b):
        x = self.gamma(a)
        return x / (x + self.gamma(b))


def permutation(n, seed, epoch):
    """The order of the images of an epoch (Fisher-Yates)."""
    order, draw = list(range(n)), Sequence(seed, SHUFFLE, epoch, 0)
    for i in range(n - 1, 0, -1):
        j = draw.below(i + 1)
        order[i], order[j] = order[j], order[i]
    return order


class DropPathStreams:
    """What drop path keeps: every call that can drop takes a stream of its own, and row r the word r % 4 of block r / 4."""

    def __init__(self, seed):
        self.seed, self.stream = seed, 0

    def keeps(self, rows, p):
        threshold = int(p * 2 ** 24 + 0.5)
        blocks = [philox(self.seed, self.stream, block) for block in range((rows + 3) // 4)]
        self.stream += 1
        return [(blocks[r // 4][r % 4] >> 8) >= threshold for r in range(rows)]
